package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// credentials are what POST /login takes.
type credentials struct {
	username, password string
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
		c.username, c.password, c.returnTo, transport = form.Get("username"), form.Get("password"), form.Get("return_to"), form.Get("transport")
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
	if c.username == "" || c.password == "" {
		return c, &badBody{http.StatusBadRequest, "Username and password are needed."}
	}
	return c, nil
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
	if !a.users.check(c.username, c.password) {
		a.loginFailed(w, r, c)
		return
	}
	login := refresh.Login{Subject: c.username, Remember: c.remember}
	var grant *refresh.Grant
	if c.native {
		grant, err = a.LoginNative(r, login)
	} else {
		grant, err = a.Login(w, r, login)
	}
	switch {
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
	stream(w, ctx, func(send func(string) error) error {
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

// stream runs a Server-Sent Events response.
func stream(w http.ResponseWriter, ctx context.Context, produce func(send func(data string) error) error) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	rc := http.NewResponseController(w)
	produce(func(data string) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil {
			return err
		}
		return rc.Flush()
	})
}

// password changes the password, which throws every other session out.
func (a *app) password(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(w, r)
	var old, replacement string
	if err == nil && mediaType(r) != "application/json" {
		err = &badBody{http.StatusUnsupportedMediaType, "Send application/json."}
	}
	if err == nil {
		err = decodeJSON(body, map[string]any{"old": &old, "new": &replacement})
	}
	if err == nil && replacement == "" {
		err = &badBody{http.StatusBadRequest, "A new password is needed."}
	}
	if err != nil {
		answerBadBody(w, err)
		return
	}
	c := session(r)
	if !a.users.check(c.Subject, old) {
		writeError(w, http.StatusForbidden, "invalid_credentials", "The old password is wrong.")
		return
	}
	undo := a.users.setPassword(c.Subject, replacement)
	if err := a.Sessions.RevokeOthers(r.Context(), c, family.ReasonPassword); err != nil {
		undo() // a new password that leaves the thief signed in is worth nothing
		a.WriteError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *app) setActive(active bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		if !a.users.setActive(name, active) {
			writeError(w, http.StatusNotFound, "not_found", "There is no such user.")
			return
		}
		if !active {
			if err := a.Sessions.RevokeAll(r.Context(), name, family.ReasonDeactivate); err != nil {
				a.WriteError(w, r, err)
				return
			}
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func (a *app) health(w http.ResponseWriter, r *http.Request) {
	if err := a.Sessions.Ping(r.Context()); err != nil {
		a.WriteError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}
