package middleware

import (
	"crypto/rand"
	"errors"
	"net/http"
	"slices"

	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/refresh"
)

// Login opens a session for a user whom the app has just authenticated in a
// browser: it sets the cookies, and ends the sessions that the browser came
// with, so that none that was planted is ever adopted (ASVS V7.2.4). It fills
// in Login.Client and Login.Supersedes.
//
// It fails with ErrCrossOrigin and with the errors of refresh.Sessions.Start;
// nothing is changed then, in the store or in w. WriteError answers for all of
// them.
func (a *Auth) Login(w http.ResponseWriter, r *http.Request, l refresh.Login) (*refresh.Grant, error) {
	if err := checkLogin(l); err != nil {
		return nil, err
	}
	r = a.original(r)
	if err := a.CheckOrigin(r); err != nil {
		return nil, err
	}
	if err := refuseProof(r); err != nil {
		return nil, err
	}
	device, _ := a.device(r)
	if device == nil {
		device = make([]byte, deviceIDBytes)
		rand.Read(device)
	}
	sealed, err := a.cookies.Seal(cookie.Device, device)
	if err != nil {
		return nil, err
	}
	l.Client = a.BrowserClient(r)
	l.Client.DeviceID = deviceIDOf(device)
	l.Supersedes = a.heldInCookies(r)
	g, err := a.sessions.Start(r.Context(), l)
	if err != nil {
		return nil, err
	}
	if err := a.loginCookies(w.Header(), r, g, sealed); err != nil {
		for _, n := range allCookies {
			a.cookies.Unset(w.Header(), n)
		}
		return nil, errors.Join(err, a.sessions.Revoke(r.Context(), l.Subject, g.Claims.SessionID, refresh.ReasonLogout))
	}
	g.InCookies = true
	a.offerKey(w.Header(), r, g)
	return g, nil
}

// loginCookies sets what a sign-in gives the browser. The device comes first: a
// browser that dies between two cookies must not be left with a refresh token
// and no device.
func (a *Auth) loginCookies(h http.Header, r *http.Request, g *refresh.Grant, device string) error {
	if err := a.cookies.Set(h, cookie.Device, device, deviceLifetime); err != nil {
		return err
	}
	if g.BrowserKey != "" {
		if err := a.cookies.Set(h, cookie.Browser, g.BrowserKey, 0); err != nil {
			return err
		}
	} else if _, err := a.cookies.Read(r, cookie.Browser); !errors.Is(err, cookie.ErrAbsent) {
		a.cookies.Delete(h, cookie.Browser)
	}
	return a.setCookies(h, g)
}

// LoginNative opens a session for a user whom the app has just authenticated in
// a native app. No cookies are read or set, so it does not matter which origin
// the request is from; send the grant with WriteTokens. The session is
// remembered. A proof of possession in the header DPoP (RFC 9449) binds it to the
// app's key. It fills in Login.Client.
//
// It fails with the errors of refresh.Sessions.Start, and with one that
// WriteError answers for when the proof is no good.
func (a *Auth) LoginNative(r *http.Request, l refresh.Login) (*refresh.Grant, error) {
	if err := checkLogin(l); err != nil {
		return nil, err
	}
	r = a.original(r)
	c, proof, err := a.provenClient(r, a.native(r))
	if err == nil && !c.Key.IsZero() {
		err = a.proofs.add(proof, a.sessions.Access().Now())
	}
	if err != nil {
		return nil, a.proofFailed(r, nil, err)
	}
	l.Client, l.Remember = c, true
	return a.sessions.Start(r.Context(), l)
}

func checkLogin(l refresh.Login) error {
	if l.Client != (refresh.Client{}) || len(l.Supersedes) > 0 {
		return errors.New("middleware: refresh.Login.Client and Supersedes are filled in from the request: leave them empty")
	}
	return nil
}

// WriteTokens sends a grant's tokens to a native app (RFC 6749 section 5.1), with
// the session's id. Of a grant whose tokens are in cookies it sends how long the
// access token lasts, and the id.
func (a *Auth) WriteTokens(w http.ResponseWriter, g *refresh.Grant) {
	body := struct {
		AccessToken  string `json:"access_token,omitempty"`
		TokenType    string `json:"token_type,omitempty"`
		ExpiresIn    int64  `json:"expires_in"`
		RefreshToken string `json:"refresh_token,omitempty"`
		SessionID    string `json:"session_id"`
	}{ExpiresIn: g.ExpiresIn(), SessionID: g.Claims.SessionID}
	if !g.InCookies {
		body.AccessToken, body.TokenType, body.RefreshToken = g.AccessToken, "Bearer", g.RefreshToken
		if g.Claims.KeyThumbprint != "" {
			body.TokenType = "DPoP"
			a.keepNonce(w.Header())
		}
	}
	writeJSON(w, http.StatusOK, body)
}

// Logout ends every session whose tokens the request carries, whatever else it
// carries: in cookies, also in an access token that expired within the last
// hour, or in the Authorization header; and the session that a guard found. It
// deletes the cookies. A request without any is a success: there is nothing to
// end. A refresh token that was out of use already ends nothing, and is an
// event.
//
// It fails with ErrCrossOrigin for a request with cookies from another origin,
// with ErrRepeated when credentials are sent twice, and with
// refresh.ErrUnavailable; the cookies are then left alone, so that the client
// can try again. It asks for no proof of a device key: to end a session is safe,
// and a key store that fails must not prevent it.
func (a *Auth) Logout(w http.ResponseWriter, r *http.Request) error {
	return a.logout(w, r, "")
}

// logout is Logout, for a refresh token in the body too.
func (a *Auth) logout(w http.ResponseWriter, r *http.Request, refreshToken string) error {
	s := a.own(r)
	r = a.original(r)
	cred, err := a.headerToken(r)
	if errors.Is(err, ErrRepeated) {
		return err
	}
	cookies := a.hasCookies(r)
	if cookies {
		if err := a.CheckOrigin(r); err != nil {
			return err
		}
	}
	held := append(a.heldInCookies(r), a.heldBeside(s, cred.token, refreshToken)...)
	if len(held) == 0 && a.keyAlone(r) {
		return refresh.ErrUnavailable // nothing could be ended, and the key would bring it back
	}
	if err := a.sessions.SignOut(r.Context(), a.client(r), held...); err != nil {
		return err
	}
	// Deleting is setting: another origin must not sign a browser out whose
	// cookies it could not send (SameSite).
	if cookies || len(r.Header["Authorization"]) == 0 && a.crossOrigin.Check(r) == nil {
		a.deleteCookies(w.Header(), slices.ContainsFunc(held, func(h refresh.Held) bool { return h.DeviceBound }))
	} else {
		noStore(w.Header())
	}
	return nil
}

// heldBeside returns the sessions that a request names otherwise than by cookies: by
// the token in the header, by one in the body, or since a guard has let it pass.
func (a *Auth) heldBeside(s *state, accessToken, refreshToken string) (held []refresh.Held) {
	if h, err := a.sessions.HeldAccess(accessToken); err == nil && accessToken != "" {
		held = append(held, h)
	}
	if h, err := a.sessions.HeldRefresh(refreshToken); err == nil && refreshToken != "" {
		held = append(held, h)
	}
	if s != nil && s.claims != nil {
		if h, err := a.sessions.HeldClaims(s.claims); err == nil {
			held = append(held, h)
		}
	}
	return held
}

// hasCookies reports whether the request carries cookies that open a session.
func (a *Auth) hasCookies(r *http.Request) bool {
	for _, n := range tokenCookies {
		if _, err := a.cookies.Read(r, n); !errors.Is(err, cookie.ErrAbsent) {
			return true
		}
	}
	return false
}

// heldInCookies returns the sessions of which the request's cookies hold a
// token. Tokens that do not verify name nobody; a planted duplicate must not
// keep the session from being ended.
func (a *Auth) heldInCookies(r *http.Request) (held []refresh.Held) {
	for _, text := range a.cookies.ReadAll(r, cookie.Refresh) {
		if h, err := a.sessions.HeldRefresh(text); err == nil {
			held = append(held, h)
		}
	}
	for _, text := range a.cookies.ReadAll(r, cookie.Access) {
		if h, err := a.sessions.HeldAccess(text); err == nil {
			held = append(held, h)
		}
	}
	return held
}
