package main

import (
	"errors"
	"net/http"
	"strings"
	"unicode"

	"github.com/sessionkit/sessionkit/refresh"
)

// reauthenticate asks for the password once more, for what needs a recent
// sign-in: the session goes on, with tokens that say so.
func (a *app) reauthenticate(w http.ResponseWriter, r *http.Request) {
	var password string
	if err := readObject(w, r, map[string]any{"password": &password}); err != nil {
		answerBadBody(w, err)
		return
	}
	right, err := a.users.check(r.Context(), session(r).Subject, password)
	switch {
	case err != nil:
		a.WriteError(w, r, err)
		return
	case !right:
		writeError(w, http.StatusForbidden, "invalid_credentials", "Wrong password.")
		return
	}
	grant, err := a.StepUp(w, r, refresh.AuthContext{AMR: []string{"pwd"}})
	if err != nil {
		a.WriteError(w, r, err)
		return
	}
	a.WriteTokens(w, grant)
}

// maxName bounds the name of a device, in bytes.
const maxName = 60

// nameDevice keeps what the user calls this device with the session.
func (a *app) nameDevice(w http.ResponseWriter, r *http.Request) {
	var name string
	err := readObject(w, r, map[string]any{"name": &name})
	if name = strings.TrimSpace(name); err == nil && (len(name) > maxName || strings.ContainsFunc(name, unicode.IsControl)) {
		err = &badBody{http.StatusBadRequest, "The name is too long, or holds control characters."}
	}
	if err != nil {
		answerBadBody(w, err)
		return
	}
	grant, err := a.SetData(w, r, name)
	if err != nil {
		a.WriteError(w, r, err)
		return
	}
	a.WriteTokens(w, grant)
}

// impersonate signs an administrator in as a user, who sees by whom and why. In
// a browser the administrator's own session ends with it.
func (a *app) impersonate(w http.ResponseWriter, r *http.Request) {
	var reason, transport string
	err := readObject(w, r, map[string]any{"reason": &reason, "transport": &transport})
	native := transport == "body"
	if err == nil && !native && transport != "" && transport != "cookie" {
		err = &badBody{http.StatusBadRequest, "The transport is cookie or body."}
	}
	if err != nil {
		answerBadBody(w, err)
		return
	}
	admin, name := session(r).Subject, r.PathValue("name")
	_, known := demoAccounts[name]
	switch {
	case !known:
		writeError(w, http.StatusNotFound, "not_found", "There is no such user.")
		return
	case name == admin:
		writeError(w, http.StatusBadRequest, "invalid_request", "You are that user.")
		return
	case strings.TrimSpace(reason) == "" || len(reason) > 128 || strings.ContainsFunc(reason, unicode.IsControl):
		writeError(w, http.StatusBadRequest, "invalid_request", "Give a reason of at most 128 bytes.")
		return
	}
	login := refresh.Login{Subject: name, Actor: admin, Reason: reason}
	var grant *refresh.Grant
	if native {
		grant, err = a.LoginNative(r, login)
	} else {
		grant, err = a.Login(w, r, login)
	}
	switch {
	case errors.Is(err, refresh.ErrDenied):
		writeError(w, http.StatusForbidden, "access_denied", "The user is deactivated.")
	case err != nil:
		a.WriteError(w, r, err)
	default:
		a.WriteTokens(w, grant)
	}
}
