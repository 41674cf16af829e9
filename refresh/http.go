package refresh

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/internal/answer"
	"github.com/sessionkit/sessionkit/internal/bearer"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// DeviceIDHeader is where a native app names its device, at login and at each
// refresh: a random id that it keeps.
const DeviceIDHeader = "X-Device-ID"

// A Transport is where a client keeps its tokens.
type Transport uint8

const (
	// Cookie: a browser, in HttpOnly cookies. Bodies carry no token.
	Cookie Transport = iota
	// Body: a native app, from the response's body into its key store. No
	// cookies are read or set.
	Body
)

// ErrCrossOrigin: another origin caused the request; nothing was done.
var ErrCrossOrigin = errors.New("refresh: cross-origin request refused")

// CheckOrigin returns ErrCrossOrigin for a request with an unsafe method that
// another origin caused, by the rules of http.CrossOriginProtection. A
// WebSocket handshake is a GET that any page may cause and that opens a way to
// act: it counts as unsafe (RFC 6455 section 10.2).
func (s *Service) CheckOrigin(r *http.Request) error {
	judged := r
	if r.Method == http.MethodGet && len(r.Header["Upgrade"]) > 0 {
		handshake := *r
		handshake.Method, judged = http.MethodPost, &handshake
	}
	if s.crossOrigin.Check(judged) == nil {
		return nil
	}
	s.Record(r, Event{Kind: EventCrossOrigin, Err: ErrCrossOrigin})
	return ErrCrossOrigin
}

// ClientFrom describes who sent the request, for the given transport: a
// browser's device is named by its sealed cookie, a native app's by its
// header, never the one by the other's.
func (s *Service) ClientFrom(r *http.Request, t Transport) Client {
	c := Client{IP: clientIP(r, s.trusted), UserAgent: r.UserAgent()}
	if t == Cookie {
		if id, _ := s.device(r); id != nil {
			c.DeviceID = "cookie " + string(id)
		}
		return c
	}
	if v := strings.Join(r.Header.Values(DeviceIDHeader), "\x00"); v != "" {
		c.DeviceID = "header " + v
	}
	return c
}

const deviceIDBytes = 16

// device opens the device cookie. stale: it should be sealed anew.
func (s *Service) device(r *http.Request) (id []byte, stale bool) {
	value, err := s.cookies.Read(r, cookie.Device)
	if err != nil {
		return nil, false
	}
	id, stale, err = s.cookies.Open(cookie.Device, value)
	if err != nil || len(id) != deviceIDBytes {
		return nil, false
	}
	return id, stale
}

// deviceLifetime is the longest that browsers keep a cookie. It starts anew
// at each login, so the device cookie outlives every session it is bound to.
const deviceLifetime = 400 * 24 * time.Hour

func (s *Service) setDevice(h http.Header, id []byte) error {
	sealed, err := s.cookies.Seal(cookie.Device, id)
	if err != nil {
		return err
	}
	return s.cookies.Set(h, cookie.Device, sealed, deviceLifetime)
}

// LoginParams describes a login over HTTP.
type LoginParams struct {
	Subject   string    // see StartParams
	Remember  bool      // keep the session when the browser closes
	Transport Transport // where the client keeps its tokens
	ACR       string    // see StartParams
	AMR       []string
}

// Login opens a session for a user whom the app has just authenticated. For
// Transport Cookie it sets the cookies, and ends the session that the browser
// came with, if any, so that no planted session is ever adopted (ASVS
// V7.2.4); for Body the app sends the grant itself, with Grant.WriteJSON.
//
// It fails with ErrCrossOrigin, with the errors of Start, and with
// ErrUnavailable; nothing is written to w then. WriteError answers for all of
// them.
func (s *Service) Login(w http.ResponseWriter, r *http.Request, p LoginParams) (*Grant, error) {
	if err := s.CheckOrigin(r); err != nil {
		return nil, err
	}
	params := StartParams{Subject: p.Subject, Remember: p.Remember || p.Transport == Body, ACR: p.ACR, AMR: p.AMR}
	params.Client = s.ClientFrom(r, p.Transport)
	if p.Transport == Body {
		return s.Start(r.Context(), params)
	}

	device, _ := s.device(r)
	if device == nil {
		device = make([]byte, deviceIDBytes)
		rand.Read(device)
	}
	params.Client.DeviceID = "cookie " + string(device)
	// The same user signing in again makes room for themselves; somebody
	// else's session ends when the new one is there.
	presented := s.presented(r)
	for _, old := range presented {
		if old.subject == p.Subject {
			if err := s.end(r, old, family.ReasonSuperseded); err != nil {
				return nil, err
			}
		}
	}
	g, err := s.Start(r.Context(), params)
	if err != nil {
		return nil, err
	}
	for _, old := range presented {
		if old.subject != p.Subject {
			if err := s.end(r, old, family.ReasonSuperseded); err != nil {
				return nil, err
			}
		}
	}
	// The device comes first: a browser that dies between two cookies must
	// not be left with a refresh token and no device.
	if err := s.setDevice(w.Header(), device); err != nil {
		return nil, err
	}
	if err := s.setCookies(w.Header(), g); err != nil {
		return nil, err
	}
	return g, nil
}

// setCookies puts a grant's tokens into the header's Set-Cookie lines, in
// place of earlier ones of these names, and keeps the response out of caches.
// Remembered sessions get a Max-Age that ends with the refresh token.
func (s *Service) setCookies(h http.Header, g *Grant) error {
	var maxAge time.Duration
	if g.Remember {
		if maxAge = g.RefreshExpiresAt.Sub(g.IssuedAt); maxAge < time.Second {
			maxAge = time.Second
		}
	}
	if err := s.cookies.Set(h, cookie.Refresh, g.RefreshToken, maxAge); err != nil {
		return err
	}
	if err := s.cookies.Set(h, cookie.Access, g.AccessToken, maxAge); err != nil {
		s.cookies.Drop(h, cookie.Refresh)
		return err
	}
	answer.NoStore(h)
	return nil
}

// crashRestore is the age of the cookies that a crashed browser comes back
// with (measured in Chromium).
const crashRestore = 30 * time.Second

// slowAnswer is the age from which a grant may have been overtaken: in less
// time no client has fetched two more generations.
const slowAnswer = time.Second

// Stale reports whether a grant's cookies must no longer be written: its
// session was revoked since; or it is so old that its access token could
// settle the generation before the browser has the cookies on disk; or the
// store, which is asked about grants older than a second, has a newer
// generation, which the browser may hold already. The client keeps what it
// has, which can still be replayed.
func (s *Service) Stale(ctx context.Context, g *Grant) bool {
	limit := s.settle
	if limit > crashRestore {
		limit = max(limit-crashRestore, limit/2)
	}
	age := s.access.Now().Sub(g.IssuedAt)
	switch {
	case s.revoked.has(g.Claims.SessionID) || age > limit:
		return true
	case age < slowAnswer:
		return false
	}
	f, err := s.find(ctx, g.Claims)
	return err != nil || f.Revoked != "" || uint64(f.Generation) != g.Claims.Generation
}

// WriteCookies sets a grant's cookies in the header of the answer to r, in
// place of earlier ones of these names, and keeps the response out of caches.
// A device cookie that was sealed with a key on its way out is sealed anew.
// Remembered sessions get a Max-Age that ends with the refresh token. It
// fails, writing no tokens, with cookie.ErrTooLarge when the app's claims make
// the access token outgrow a cookie.
func (s *Service) WriteCookies(h http.Header, r *http.Request, g *Grant) error {
	if id, stale := s.device(r); stale {
		if err := s.setDevice(h, id); err != nil {
			return err
		}
	}
	return s.setCookies(h, g)
}

// RefreshCookies exchanges the request's refresh cookie. The cookies are not
// set yet: see WriteCookies. Errors are those of Refresh; a request without a
// refresh cookie fails with http.ErrNoCookie, one with several different ones
// with ErrInvalidToken.
func (s *Service) RefreshCookies(r *http.Request) (*Grant, error) {
	value, err := s.cookies.Read(r, cookie.Refresh)
	switch {
	case errors.Is(err, cookie.ErrAbsent):
		return nil, http.ErrNoCookie
	case err != nil:
		return nil, ErrInvalidToken
	}
	return s.Refresh(r.Context(), value, s.ClientFrom(r, Cookie))
}

// Logout ends every session whose tokens the request carries: by cookie, also
// in an access token that has expired, or as a Bearer token; and the session
// in its context. It deletes the token cookies. A request without any is a
// success: there is nothing to end. It fails with ErrCrossOrigin,
// ErrUnavailable, or, when credentials are sent twice, an error for which
// WriteError has status 400; the cookies are then left alone, so that the
// client can try again.
func (s *Service) Logout(w http.ResponseWriter, r *http.Request) error {
	if err := s.CheckOrigin(r); err != nil {
		return err
	}
	if _, _, err := bearer.Token(r); errors.Is(err, bearer.ErrRepeated) {
		return err
	}
	for _, p := range s.presented(r) {
		if err := s.end(r, p, family.ReasonLogout); err != nil {
			return err
		}
	}
	s.deleteCookies(w, r)
	return nil
}

// deleteCookies removes the token cookies. The device cookie stays: it names
// the browser and opens nothing.
func (s *Service) deleteCookies(w http.ResponseWriter, r *http.Request) {
	answer.NoStore(w.Header())
	if len(r.Header.Values("Authorization")) > 0 {
		return // the header alone decides; cookies are not looked at
	}
	s.cookies.Delete(w.Header(), cookie.Refresh)
	s.cookies.Delete(w.Header(), cookie.Access)
	if s.clearSiteData != "" {
		w.Header().Set("Clear-Site-Data", s.clearSiteData)
	}
}

// identity is a session that a request proved to hold a token of.
type identity struct {
	subject string
	family  family.ID
}

// presented returns the sessions of which the request carries a token, and the
// one in its context. Tokens that do not verify name nobody.
func (s *Service) presented(r *http.Request) []identity {
	var all []identity
	add := func(id identity) {
		for _, known := range all {
			if known == id {
				return
			}
		}
		all = append(all, id)
	}
	addAccess := func(text string) {
		c, err := s.access.VerifyExpired(text, maxAbsolute)
		if err != nil {
			return
		}
		if id, err := family.ParseID(c.SessionID); err == nil {
			add(identity{c.Subject, id})
		}
	}
	// A guard may have taken the cookies out of the request.
	if c, ok := access.FromContext(r.Context()); ok && s.Issued(c) {
		if id, err := family.ParseID(c.SessionID); err == nil {
			add(identity{c.Subject, id})
		}
	}
	if len(r.Header.Values("Authorization")) > 0 {
		if text, _, err := bearer.Token(r); err == nil {
			addAccess(text)
		}
		return all
	}
	// A planted duplicate must not keep the session from being ended.
	for _, text := range s.cookies.Values(r, cookie.Refresh) {
		if t, err := s.codec.decode(text); err == nil {
			add(identity{t.subject, t.family})
		}
	}
	for _, text := range s.cookies.Values(r, cookie.Access) {
		addAccess(text)
	}
	return all
}

func (s *Service) end(r *http.Request, who identity, why family.Reason) error {
	key, ok := s.codec.subjectKey(who.subject, who.family)
	if !ok {
		return nil
	}
	_, err := s.revoke(r.Context(), who.subject, family.RevokeRequest{Subject: key, Family: who.family, Proven: true, Reason: why})
	return err
}

// tokenResponse is the success body of RFC 6749 section 5.1, with the session's id.
type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	SessionID    string `json:"session_id"`
}

// WriteJSON sends the tokens to a native client (RFC 6749 section 5.1).
func (g *Grant) WriteJSON(w http.ResponseWriter) {
	answer.JSON(w, http.StatusOK, tokenResponse{g.AccessToken, "Bearer", g.ExpiresIn(), g.RefreshToken, g.Claims.SessionID})
}

// retryAfter is what clients are told while the store is away, in seconds.
const retryAfter = "1"

// WriteError answers a request that failed with an error of this package, as
// the kit's own handlers do: all refusals look alike.
func WriteError(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, ErrUnavailable):
		w.Header().Set("Retry-After", retryAfter)
		answer.Error(w, http.StatusServiceUnavailable, "temporarily_unavailable", "The service is briefly unavailable. Try again.")
	case errors.Is(err, ErrCrossOrigin):
		answer.Error(w, http.StatusForbidden, "cross_origin", "The request came from another origin.")
	case errors.Is(err, ErrRefused), errors.Is(err, http.ErrNoCookie):
		w.Header().Set("WWW-Authenticate", "Bearer")
		answer.Error(w, http.StatusUnauthorized, "invalid_grant", "The session has ended. Sign in again.")
	case errors.Is(err, ErrLimit):
		answer.Error(w, http.StatusForbidden, "access_denied", "Too many sessions. End one first.")
	case errors.Is(err, ErrNotFound):
		answer.Error(w, http.StatusNotFound, "not_found", "There is no such session.")
	case errors.Is(err, bearer.ErrRepeated):
		answer.Error(w, http.StatusBadRequest, "invalid_request", "Credentials came twice.")
	case errors.Is(err, ErrSubject):
		answer.Error(w, http.StatusBadRequest, "invalid_request", "The subject is not valid.")
	default:
		answer.Error(w, http.StatusInternalServerError, "server_error", "Something went wrong.")
	}
}
