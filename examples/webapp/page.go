package main

import (
	"embed"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/sessionkit/sessionkit/middleware"
)

//go:embed assets
var files embed.FS

var pages = template.Must(template.ParseFS(files, "assets/*.html"))

func assets(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, ".html") || strings.HasSuffix(r.URL.Path, "/") {
		writeError(w, http.StatusNotFound, "not_found", "There is no such resource.")
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache")
	http.FileServerFS(files).ServeHTTP(w, r)
}

// module serves the fetch wrapper for single-page apps.
func module(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeFileFS(w, r, files, "assets/sessionkit.js")
}

func render(w http.ResponseWriter, status int, page string, data any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	pages.ExecuteTemplate(w, page, data)
}

type view struct {
	Title    string
	Subject  string
	Session  string
	Actor    string // who acts for Subject
	Roles    []string
	Users    []string // whom an administrator may sign in as
	ReturnTo string
	Error    string
	Lifetime int64 // of access tokens, in seconds
	KeysMode string
}

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	v := view{Title: "sessionkit", Lifetime: int64(a.lifetime.Seconds()), KeysMode: a.keysMode}
	if c := session(r); c != nil {
		v.Subject, v.Session, v.Roles, v.Actor = c.Subject, c.SessionID, c.Roles, c.Actor
		if c.HasRole("admin") && c.Actor == "" {
			for name := range demoAccounts {
				if name != c.Subject {
					v.Users = append(v.Users, name)
				}
			}
			slices.Sort(v.Users)
		}
	}
	render(w, http.StatusOK, "home.html", v)
}

func (a *app) account(w http.ResponseWriter, r *http.Request) {
	c := session(r)
	render(w, http.StatusOK, "account.html", view{Title: "Your account", Subject: c.Subject, Session: c.SessionID, Roles: c.Roles})
}

func (a *app) loginPage(w http.ResponseWriter, r *http.Request) {
	a.renderLogin(w, http.StatusOK, r.URL.Query().Get("return_to"), "")
}

func (a *app) renderLogin(w http.ResponseWriter, status int, returnTo, failure string) {
	render(w, status, "login.html", view{Title: "Sign in", ReturnTo: middleware.LocalPath(returnTo, ""), Error: failure})
}

// logoutPage signs out by form, for browsers without script.
func (a *app) logoutPage(w http.ResponseWriter, r *http.Request) {
	if err := a.Logout(w, r); err != nil {
		a.WriteError(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
