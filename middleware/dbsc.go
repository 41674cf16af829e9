package middleware

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// DBSC has the settings of sessions that browsers bind to a key of their device
// (W3C Device Bound Session Credentials). Whether they are is said by
// refresh.Config.DeviceKeys; it needs https, the endpoints of Handler, and
// cookies with the prefix __Host-.
type DBSC struct {
	// RefreshInitiators are the other hosts from which a link may make the
	// browser renew the session before it follows the link: a host name, "*."
	// and a domain, or "*" for all. Others reach a page that comes back by
	// itself, which takes one more load.
	RefreshInitiators []string
	// Path is where browsers reach Handler, if a proxy or http.StripPrefix
	// changes it on the way. Empty: the path that Handler was given.
	Path string
	// RenewPage and RetryPage are HTML for the body of the two pages that a
	// browser may show for a moment: while it comes back to renew the session,
	// and while the service cannot be asked. Neither scripts nor styles of its
	// own run in it. Empty: a sentence in English.
	RenewPage, RetryPage string
}

// initiator is the grammar that browsers accept: anything else would make them
// refuse the whole session.
var initiator = regexp.MustCompile(`^(\*|(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)$`)

func (d *DBSC) validate() error {
	for _, host := range d.RefreshInitiators {
		if !initiator.MatchString(host) {
			return fmt.Errorf("middleware: Config.DBSC.RefreshInitiators holds %q: use a host name in lower case, *. and a domain, or * alone; no scheme and no port", host)
		}
	}
	if d.Path != "" && (LocalPath(d.Path, "") != d.Path || strings.ContainsAny(d.Path, `?#"`)) {
		return errors.New("middleware: Config.DBSC.Path is no local path: use the one at which browsers reach the kit's endpoints, such as /app/auth")
	}
	return nil
}

// deviceKeys is what an Auth keeps for device keys.
type deviceKeys struct {
	mounted atomic.Pointer[string] // the path of the endpoints, once there are any
	offered atomic.Bool            // some browser was asked for a key
}

// keysPath returns where browsers reach the endpoints; "" where no key can be
// offered: there are no endpoints, or browsers do not bind cookies like ours.
// They take none with __Host-Http-, they want https, and a cookie that several
// hosts share cannot be renewed on one of them.
func (a *Auth) keysPath() string {
	name, mounted := a.cookies.Name(cookie.Access), a.keys.mounted.Load()
	if mounted == nil || !strings.HasPrefix(name, "__Host-") || strings.HasPrefix(name, "__Host-Http-") {
		return ""
	}
	return cmp.Or(strings.TrimRight(a.cfg.DBSC.Path, "/"), *mounted) + "/dbsc"
}

// mountKeys adds the endpoints of device keys.
func (a *Auth) mountKeys(mux *http.ServeMux, path string) {
	a.keys.mounted.Store(&path)
	mux.Handle(path+"/dbsc/register", a.endpoint(a.registerKeyEndpoint, http.MethodPost))
	mux.Handle(path+"/dbsc/refresh", a.endpoint(a.refreshKeyEndpoint, http.MethodPost))
}

// offerKey asks the browser that has just signed in to bind the session to a key
// of its device. A browser that does not know of this ignores it.
func (a *Auth) offerKey(h http.Header, r *http.Request, g *refresh.Grant) {
	plain := strings.HasPrefix(r.Header.Get("Origin"), "http://") // where browsers bind nothing
	if path := a.keysPath(); path != "" && g.KeyTicket != "" && !plain {
		a.keys.offered.Store(true)
		h.Set("Secure-Session-Registration", fmt.Sprintf(`(ES256 RS256);path="%s/register";challenge="%s"`, path, g.KeyTicket))
	}
}

// fieldText reads a header that holds one string: bare, as Chromium sends it, or
// quoted, as the standard has it.
func fieldText(r *http.Request, name string) string {
	values := r.Header.Values(name)
	if len(values) != 1 {
		return ""
	}
	text := values[0]
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
	}
	return text
}

// refreshText returns the refresh cookie, or "".
func (a *Auth) refreshText(r *http.Request) string {
	value, err := a.cookies.Read(r, cookie.Refresh)
	if err != nil {
		return ""
	}
	return value
}

// firstBound is how long the access cookie lasts that comes with a registration.
// Browsers renew one that has less than two minutes left beside the next request:
// that binds the session.
const firstBound = 110 * time.Second

// registerKeyEndpoint takes the key that a browser made for the session. A script
// in a page could send the same header with a key of its own, and would be given
// away by Sec-Fetch-Mode, which no script can set: only the browser itself sends
// no-cors with a header like this. One without Sec-Fetch-Mode has shown no cookie,
// whatever it sent.
func (a *Auth) registerKeyEndpoint(w http.ResponseWriter, r *http.Request) error {
	r = a.original(r)
	value := a.refreshText(r)
	switch r.Header.Get("Sec-Fetch-Mode") {
	case "no-cors":
	case "":
		value = ""
	default:
		return invalid("Only browsers themselves register a device key.")
	}
	proof := fieldText(r, "Secure-Session-Response")
	if proof == "" {
		return invalid("The proof of the device key is missing.")
	}
	g, err := a.sessions.RegisterKey(r.Context(), proof, value, a.BrowserClient(r))
	switch {
	case errors.Is(err, refresh.ErrUnproven):
		return invalid("The proof of the device key is no good.")
	case errors.Is(err, refresh.ErrOtherKey):
		return &badRequest{http.StatusConflict, "invalid_request", "The session is bound to another device key."}
	case err != nil:
		return err
	}
	path := a.keysPath()
	if path == "" {
		return refresh.ErrNotFound
	}
	a.shortenAccess(w.Header(), r, g)
	a.setKeyChallenge(w.Header(), g.KeySession, g.KeyChallenge)
	writeJSON(w, http.StatusOK, a.sessionConfig(g.KeySession, path))
	return nil
}

// sessionConfig tells the browser which cookie to keep fresh, and where.
func (a *Auth) sessionConfig(session, path string) any {
	type credential struct {
		Type       string `json:"type"`
		Name       string `json:"name"`
		Attributes string `json:"attributes"`
	}
	// The attributes as the cookie is set: a difference makes browsers renew the
	// session at every request.
	h := make(http.Header)
	a.cookies.Set(h, cookie.Access, "x", 0) // fails for other values only
	_, attributes, _ := strings.Cut(h.Get("Set-Cookie"), "; ")
	return struct {
		Session    string       `json:"session_identifier"`
		RefreshURL string       `json:"refresh_url"`
		Scope      any          `json:"scope"`
		Credential []credential `json:"credentials"`
		Initiators []string     `json:"allowed_refresh_initiators,omitempty"`
	}{session, path + "/refresh", struct {
		IncludeSite bool `json:"include_site"`
	}{false}, []credential{{"cookie", a.cookies.Name(cookie.Access), attributes}}, a.cfg.DBSC.RefreshInitiators}
}

// shortenAccess makes the browser renew the session soon: it gives the access
// token that the request came with a short life as a cookie, or, without one,
// takes the cookie away.
func (a *Auth) shortenAccess(h http.Header, r *http.Request, g *refresh.Grant) {
	text, err := a.cookies.Read(r, cookie.Access)
	if err == nil {
		c, verr := a.sessions.Verify(text)
		if verr == nil && c.SessionID == g.Claims.SessionID {
			left := c.ExpiresAt.Sub(a.sessions.Access().Now())
			if a.cookies.Set(h, cookie.Access, text, min(boundAge(left), firstBound)) == nil {
				return
			}
		}
	}
	a.cookies.Delete(h, cookie.Access)
}

func (a *Auth) setKeyChallenge(h http.Header, session, challenge string) {
	if session != "" && challenge != "" {
		h.Set("Secure-Session-Challenge", fmt.Sprintf(`"%s";id="%s"`, challenge, session))
	}
}

// notRenewed is an access cookie that lasts for a second and opens nothing: it
// says that the session could not be renewed with this request, and may be with
// the next. Browsers that get a 503 from the refresh endpoint instead stop asking
// for up to eight minutes.
const notRenewed = "not-renewed"

// refreshKeyEndpoint renews a session for a signature. Every 4xx but 403 makes the
// browser forget the session, so it gets one when the session is over, and 403
// when something is to be signed.
func (a *Auth) refreshKeyEndpoint(w http.ResponseWriter, r *http.Request) error {
	r = a.original(r)
	session := fieldText(r, "Sec-Secure-Session-Id")
	if session == "" {
		return invalid("The session identifier is missing.")
	}
	g, err := a.sessions.RefreshWithKey(r.Context(), session, fieldText(r, "Secure-Session-Response"), a.refreshText(r), a.BrowserClient(r))
	if err == nil && a.sessions.Revoked(g.Claims) {
		err = refresh.ErrRevoked
	}
	var facts *refresh.RefusedError
	switch {
	case errors.Is(err, refresh.ErrUnproven) && errors.As(err, &facts):
		a.setKeyChallenge(w.Header(), facts.KeySession, facts.KeyChallenge)
		a.write(w, r, &refused{Refusal: Refusal{Status: http.StatusForbidden, Code: proofCode, Description: proofText, Cause: err}})
		return nil
	case errors.Is(err, refresh.ErrNotShown):
		// The browser keeps the session, and goes on without the cookie.
	case errors.Is(err, refresh.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		if err := a.cookies.Set(w.Header(), cookie.Access, notRenewed, time.Second); err != nil {
			return err
		}
	case errors.Is(err, refresh.ErrReplaced):
		// The browser forgets this session, and renews its other one with the
		// request after the one that it holds back now.
		if _, absent := a.cookies.Read(r, cookie.Access); absent != nil {
			if err := a.cookies.Set(w.Header(), cookie.Access, notRenewed, time.Second); err != nil {
				return err
			}
		}
		return err
	case err != nil:
		return err
	default:
		if err := a.renewCookies(w.Header(), r, g); err != nil {
			return err
		}
		a.setKeyChallenge(w.Header(), g.KeySession, g.KeyChallenge)
	}
	// No body: browsers would take it for another configuration, and forget the
	// challenge.
	harden(w.Header())
	w.WriteHeader(http.StatusOK)
	return nil
}

const (
	// proofCode tells scripts that signing in again is not what helps.
	proofCode = "device_proof_required"
	proofText = "The browser has to renew the session with the key of its device."
)

// refreshBound answers the refresh endpoint of the other sessions: a browser
// with a device key has renewed the session beforehand, or could not.
func (a *Auth) refreshBound(w http.ResponseWriter, r *http.Request, cause error) error {
	if text, err := a.cookies.Read(r, cookie.Access); err == nil && text != notRenewed {
		if c, err := a.sessions.Verify(text); err == nil && c.DeviceBound {
			left := c.ExpiresAt.Sub(a.sessions.Access().Now())
			writeJSON(w, http.StatusOK, struct {
				ExpiresIn int64 `json:"expires_in"`
			}{max(0, int64(left/time.Second))})
			return nil
		}
	}
	text, _ := a.cookies.Read(r, cookie.Access)
	a.answerBound(w, r, &state{err: cause, retry: text == notRenewed}, guard{})
	return nil
}

// answerBound answers a request of a session that is bound to its browser, which
// came without an access token, and reports whether it did. The session is alive,
// or the store cannot say, and only a proof renews it:
//
//   - A link from elsewhere comes without the bound cookie: the browser does not
//     let other sites cause a renewal. It gets a page that comes back by itself.
//     That second request is of the origin itself, so there is no third.
//   - So does a request whose access token has just run out: the browser still has
//     its cookie, since our clock is ahead, and saw no need to renew the session.
//     The answer takes the cookie away, and then it does.
//   - A browser that tried and could not, or was told to wait, tries again; also
//     one that a crash has left no cookies.
//   - A browser that sends a request of the origin itself without having tried
//     has no key for the session. Only a sign-in helps.
//
// Who has copied the cookies may forge what tells these apart, and so choose an
// answer. None of them opens anything.
func (a *Auth) answerBound(w http.ResponseWriter, r *http.Request, s *state, g guard) bool {
	switch {
	case s.header:
		return false
	case errors.Is(s.err, refresh.ErrUnproven):
		return a.answerUnproven(w, r, s, g)
	case errors.Is(s.err, refresh.ErrUnavailable) && !g.optional && isPage(r):
		if h, err := a.sessions.HeldRefresh(a.refreshText(r)); err == nil && h.DeviceBound || s.retry || r.Header.Get(skippedHeader) != "" {
			a.writeRetryPage(w, r)
			return true
		}
	}
	return false // 503, as for every session
}

// keyAlone reports whether a request without a refresh cookie is of a browser that
// has a session: a crash has taken the cookies and left the key, which could not be
// used now. It says so, or brings our own word for it. Whose session it is nobody
// can tell, and it is not over.
func (a *Auth) keyAlone(r *http.Request) bool {
	text, err := a.cookies.Read(r, cookie.Access)
	return err == nil && text == notRenewed || a.keysPath() != "" && a.skipped(r, new(refresh.RefusedError))
}

const skippedHeader = "Secure-Session-Skipped"

// refuseForNow tells a browser that could not renew its session to come back.
func (a *Auth) refuseForNow(w http.ResponseWriter, r *http.Request) {
	if isPage(r) {
		a.writeRetryPage(w, r)
		return
	}
	a.refuse(w, r, refusedFor(refresh.ErrUnavailable))
}

// answerUnproven is answerBound where the store was asked.
func (a *Auth) answerUnproven(w http.ResponseWriter, r *http.Request, s *state, g guard) bool {
	var facts *refresh.RefusedError
	if !errors.As(s.err, &facts) {
		facts = new(refresh.RefusedError)
	}
	elsewhere, expired := isElsewhere(r), a.hasExpired(r)
	page, waits := isPage(r), a.skipped(r, facts) || s.retry
	comesBack := page && (elsewhere || expired) && !waits
	if g.optional && !comesBack {
		return false
	}
	if expired {
		a.cookies.Delete(w.Header(), cookie.Access)
	}
	switch {
	case comesBack:
		a.setKeyChallenge(w.Header(), facts.KeySession, facts.KeyChallenge)
		a.writeRenewPage(w, r)
	case waits:
		a.refuseForNow(w, r)
	default:
		a.refuseUnproven(w, r, facts, elsewhere || expired)
	}
	return true
}

// hasExpired reports whether the request came with an access token of a bound
// session that ran out lately.
func (a *Auth) hasExpired(r *http.Request) bool {
	text, err := a.cookies.Read(r, cookie.Access)
	if err != nil || text == notRenewed {
		return false
	}
	h, err := a.sessions.HeldAccess(text)
	_, refused := a.sessions.Verify(text)
	return err == nil && h.DeviceBound && errors.Is(refused, access.ErrExpired)
}

// isElsewhere reports whether a page of another origin caused the request.
func isElsewhere(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "cross-site" || site == "same-site"
}

// isPage reports whether a page of ours would be shown in the place of the
// answer, in a tab of its own.
func isPage(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// refuseUnproven answers a request that no page of ours can help. The next one may
// come with a proof, or it is surprising that this one has none.
func (a *Auth) refuseUnproven(w http.ResponseWriter, r *http.Request, facts *refresh.RefusedError, mayCome bool) {
	if facts.KeySession != "" && !mayCome {
		a.record(r, refresh.Event{Kind: refresh.EventProofMissing, Subject: facts.Subject, SessionID: facts.SessionID})
	}
	a.setKeyChallenge(w.Header(), facts.KeySession, facts.KeyChallenge)
	no := &refused{Refusal: Refusal{Status: http.StatusUnauthorized, Code: proofCode, Description: proofText, Cause: facts}}
	no.signIn = isNavigation(r) && !mayCome
	a.refuse(w, r, no)
}

// skipped reports whether a browser says that it has a key for the session and
// could not use it now, and tells why. The reasons are few, whatever is sent.
func (a *Auth) skipped(r *http.Request, facts *refresh.RefusedError) bool {
	text := r.Header.Get(skippedHeader)
	if text == "" {
		return false
	}
	name, _, _ := strings.Cut(text, ";")
	name, _, _ = strings.Cut(name, ",")
	switch name = strings.TrimSpace(name); name {
	case "unreachable", "server_error", "quota_exceeded":
	default:
		name = "other"
	}
	a.record(r, refresh.Event{Kind: refresh.EventProofSkipped, Subject: facts.Subject, SessionID: facts.SessionID, Reason: family.Reason(name)})
	return true
}

// chrome is the product and version that Chromium's relatives name.
var chrome = regexp.MustCompile(`\bChrome/([0-9]{1,4})\.`)

// firstChrome is the first version that binds sessions wherever it can.
const firstChrome = 146

// missedBinding tells of the first renewal of a session that its browser should
// have bound: something between us and it takes the headers away, its policy
// forbids it, or its device has no place for keys.
func (a *Auth) missedBinding(r *http.Request, g *refresh.Grant) {
	if g.Outcome != family.Rotated || g.Claims.Generation != 1 || g.Claims.DeviceBound || !a.keys.offered.Load() {
		return
	}
	agent := r.UserAgent()
	if strings.Contains(agent, "Mobile") || !strings.Contains(agent, "Windows NT") && !strings.Contains(agent, "Macintosh") {
		return
	}
	m := chrome.FindStringSubmatch(agent)
	if m == nil || strings.Contains(agent, "Edg") || strings.Contains(agent, "OPR") {
		return
	}
	if n, err := strconv.Atoi(m[1]); err == nil && n >= firstChrome {
		a.record(r, refresh.Event{Kind: refresh.EventBindingMissing, Subject: g.Claims.Subject, SessionID: g.Claims.SessionID})
	}
}
