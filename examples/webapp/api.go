package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// credentials are what POST /login takes.
type credentials struct {
	username, password *string // nil: absent
	remember           bool
	native             bool
	form               bool
	returnTo           string
}

func readCredentials(w http.ResponseWriter, r *http.Request) (c credentials, err error) {
	body, err := readBody(w, r)
	if err != nil {
		return c, err
	}
	transport := ""
	switch mediaType(r) {
	case "application/json":
		err = decodeJSON(body, map[string]any{"username": &c.username, "password": &c.password, "remember": &c.remember, "transport": &transport})
	case "application/x-www-form-urlencoded":
		form, ferr := parseForm(body)
		c.form, err = true, ferr
		c.username, c.password = member(form, "username"), member(form, "password")
		c.returnTo, transport = form.Get("return_to"), form.Get("transport")
		switch form.Get("remember") {
		case "on", "true", "1":
			c.remember = true
		}
	default:
		err = &badBody{http.StatusUnsupportedMediaType, "Send application/json or a form."}
	}
	if err != nil {
		return c, err
	}
	switch transport {
	case "", "cookie":
	case "body":
		c.native = true
	default:
		return c, &badBody{http.StatusBadRequest, "The transport is cookie or body."}
	}
	if c.username == nil || c.password == nil {
		return c, &badBody{http.StatusBadRequest, "Username and password are needed."}
	}
	return c, nil
}

// member returns a form's field, or nil if it is absent.
func member(form url.Values, name string) *string {
	if v, ok := form[name]; ok {
		return &v[0]
	}
	return nil
}

// login checks the password as any app does, and leaves the rest to the kit.
func (a *app) login(w http.ResponseWriter, r *http.Request) {
	c, err := readCredentials(w, r)
	if err != nil {
		answerBadBody(w, err)
		return
	}
	if !c.native {
		if err := a.CheckOrigin(r); err != nil {
			a.WriteError(w, r, err)
			return
		}
	}
	right, err := a.users.check(r.Context(), *c.username, *c.password)
	switch {
	case err != nil:
		a.WriteError(w, r, err)
		return
	case !right:
		a.loginFailed(w, r, c)
		return
	}
	login := refresh.Login{Subject: *c.username, Remember: c.remember}
	var grant *refresh.Grant
	if c.native {
		grant, err = a.LoginNative(r, login)
	} else {
		grant, err = a.Login(w, r, login)
	}
	switch {
	case errors.Is(err, refresh.ErrDenied): // deactivated meanwhile
		a.loginFailed(w, r, c)
	case err != nil:
		a.WriteError(w, r, err)
	case c.native:
		a.WriteTokens(w, grant)
	case c.form:
		http.Redirect(w, r, middleware.LocalPath(c.returnTo, "/"), http.StatusSeeOther)
	default:
		writeJSON(w, http.StatusOK, map[string]any{
			"subject": grant.Claims.Subject, "session_id": grant.Claims.SessionID, "expires_in": grant.ExpiresIn(),
		})
	}
}

func (a *app) loginFailed(w http.ResponseWriter, r *http.Request, c credentials) {
	if c.form && strings.Contains(r.Header.Get("Accept"), "text/html") {
		a.renderLogin(w, http.StatusUnauthorized, c.returnTo, "Wrong username or password.")
		return
	}
	writeError(w, http.StatusUnauthorized, "invalid_credentials", "Wrong username or password.")
}

// session returns the request's session, which its guard has put there.
func session(r *http.Request) *access.Claims {
	c, _ := middleware.Session(r.Context())
	return c
}

func (a *app) me(w http.ResponseWriter, r *http.Request) {
	c := session(r)
	roles := c.Roles
	if roles == nil {
		roles = []string{}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"subject": c.Subject, "session_id": c.SessionID, "roles": roles,
		"expires_in": max(0, int64(time.Until(c.ExpiresAt).Seconds())), "auth_time": c.AuthTime.Unix(),
		"generation": c.Generation,
	})
}

func (a *app) public(w http.ResponseWriter, r *http.Request) {
	var subject *string
	if c := session(r); c != nil {
		subject = &c.Subject
	}
	writeJSON(w, http.StatusOK, map[string]any{"subject": subject})
}

func (a *app) admin(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"subject": session(r).Subject, "admin": true})
}

func (a *app) transfer(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"transferred": true})
}

// stream sends the time every second, until the session is revoked. Access
// tokens that run out meanwhile do not end it.
func (a *app) stream(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := a.WatchSession(r)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	a.serveStream(w, r, ctx, func(ctx context.Context, send func(string) error) error {
		for {
			if err := send(fmt.Sprintf(`{"time":%q}`, time.Now().UTC().Format(time.RFC3339))); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	})
}

// serveStream runs a Server-Sent Events response until ctx is over or the
// program ends. HEAD gets the header alone.
func (a *app) serveStream(w http.ResponseWriter, r *http.Request, ctx context.Context, produce func(ctx context.Context, send func(data string) error) error) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.stopping, cancel)()
	// The server's deadlines are for requests that end by themselves.
	connection := http.NewResponseController(w)
	connection.SetReadDeadline(time.Time{})
	produce(ctx, func(data string) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		connection.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil {
			return err
		}
		return connection.Flush()
	})
}

// password changes the password, which throws every other session out.
func (a *app) password(w http.ResponseWriter, r *http.Request) {
	var old, replacement string
	err := readObject(w, r, map[string]any{"old": &old, "new": &replacement})
	if err == nil && replacement == "" {
		err = &badBody{http.StatusBadRequest, "A new password is needed."}
	}
	if err != nil {
		answerBadBody(w, err)
		return
	}
	c := session(r)
	right, err := a.users.check(r.Context(), c.Subject, old)
	switch {
	case err != nil:
		a.WriteError(w, r, err)
		return
	case !right:
		writeError(w, http.StatusForbidden, "invalid_credentials", "The old password is wrong.")
		return
	}
	undo, err := a.users.setPassword(r.Context(), c.Subject, replacement)
	if err != nil {
		a.WriteError(w, r, err)
		return
	}
	if err := a.Sessions.RevokeOthers(r.Context(), c, family.ReasonPassword); err != nil {
		undo() // a new password that leaves the thief signed in is worth nothing
		a.WriteError(w, r, err)
		return
	}
	noContent(w)
}

func (a *app) setActive(active bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		if _, known := demoAccounts[name]; !known {
			writeError(w, http.StatusNotFound, "not_found", "There is no such user.")
			return
		}
		err := a.users.setActive(r.Context(), name, active)
		if err == nil && !active {
			err = a.Sessions.RevokeAll(r.Context(), name, family.ReasonDeactivate)
		}
		if err != nil {
			a.WriteError(w, r, err)
			return
		}
		noContent(w)
	}
}

func (a *app) health(w http.ResponseWriter, r *http.Request) {
	if err := a.Sessions.Ping(r.Context()); err != nil {
		a.WriteError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}
