package middleware

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// DPoP has the settings of sessions that native apps bind to their device by
// proofs of possession (RFC 9449). Whether sessions are bound says
// refresh.Config.DeviceKeys.
type DPoP struct {
	// Origin is the app's as its clients know it, such as https://app.example:
	// a proof names the URL that it was made for. Empty: what the request itself
	// says, TLS and Host. That is wrong where TLS ends at a proxy, or the proxy
	// changes Host; and where any Host is served, a proof that another server
	// was given is good here if the request repeats that server's name.
	Origin string
	// RequireNonce asks that each proof holds a nonce of the last two minutes,
	// which answers bring in DPoP-Nonce: proofs that somebody made on the device
	// in advance are no good, and clocks of clients do not matter. It costs a
	// client that was silent for so long one more round trip.
	RequireNonce bool
}

func (d *DPoP) validate() error {
	if d.Origin == "" {
		return nil
	}
	u, err := url.Parse(d.Origin)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Scheme+"://"+u.Host != d.Origin {
		return errors.New("middleware: Config.DPoP.Origin is no origin: use a scheme and a host without a path, such as https://app.example")
	}
	return nil
}

const (
	proofHeader = "Dpop" // DPoP, as net/http spells it
	nonceHeader = "Dpop-Nonce"
)

// A proofError is a request whose proof is missing or no good (RFC 9449 sections
// 5, 7.1, 8 and 9).
type proofError struct {
	code        string
	description string
	// tokens: the request asked for tokens. The answer is 400, without a challenge.
	tokens bool
	cause  error
}

func (e *proofError) Error() string { return "middleware: " + e.cause.Error() }
func (e *proofError) Unwrap() error { return e.cause }

const (
	codeNonce = "use_dpop_nonce"
	codeProof = "invalid_dpop_proof"
)

// errReplayed: a proof was used before.
var errReplayed = errors.New("the proof was used before")

// proofFailed makes the answer to a proof that failed with err, and tells of it.
// c is whose access token it came with, or nil.
func (a *Auth) proofFailed(r *http.Request, c *access.Claims, err error) error {
	if errors.Is(err, refresh.ErrUnavailable) {
		return err
	}
	e := &proofError{code: codeProof, description: "The proof of possession is not valid.", tokens: c == nil, cause: err}
	kind := refresh.EventProofRefused
	switch {
	case errors.Is(err, access.ErrNonce):
		e.code, e.description = codeNonce, "The proof of possession needs a recent nonce."
		if a.cfg.DPoP.RequireNonce {
			return e // as clients that were silent for a while do
		}
	case len(r.Header[proofHeader]) == 0:
		e.description, kind = "A proof of possession is needed.", refresh.EventProofMissing
	case errors.Is(err, refresh.ErrUnproven):
		e.code, e.description = "invalid_token", "The access token is not bound to the key of the proof."
	}
	event := refresh.Event{Kind: kind, Err: err}
	if c != nil {
		event.Subject, event.Actor, event.SessionID, event.Generation = c.Subject, c.Actor, c.SessionID, uint32(c.Generation)
	}
	a.record(r, event)
	return e
}

// prove verifies the proof that a request brings, for its access token if it has
// one.
func (a *Auth) prove(r *http.Request, accessToken string) (access.DPoPProof, error) {
	return access.VerifyDPoP(access.DPoPRequest{
		Proofs: r.Header[proofHeader], Method: r.Method, URL: a.requestURL(r), AccessToken: accessToken,
		Now: a.sessions.Access().Now(), FreshNonce: a.isFreshNonce, RequireNonce: a.cfg.DPoP.RequireNonce,
	})
}

// requestURL is where the client sent a request to, before proxies and
// http.StripPrefix.
func (a *Auth) requestURL(r *http.Request) string {
	origin := a.cfg.DPoP.Origin
	if origin == "" {
		scheme := "http://"
		if r.TLS != nil {
			scheme = "https://"
		}
		origin = scheme + r.Host
	}
	if strings.HasPrefix(r.RequestURI, "/") {
		return origin + r.RequestURI
	}
	return origin + r.URL.EscapedPath()
}

// verifyBound checks an access token that came as Authorization: DPoP, and the
// proof with it. What costs a signature of a stranger's choice comes after the
// token.
func (a *Auth) verifyBound(r *http.Request, token string) (*access.Claims, error) {
	c, err := a.sessions.Access().Verify(token)
	expired := errors.Is(err, access.ErrExpired)
	if expired && a.cfg.OutageGrace > 0 {
		c, err = a.sessions.Access().VerifyWithin(token, a.cfg.OutageGrace)
	}
	if err != nil {
		return nil, a.unverified(r, err)
	}
	proof, err := a.prove(r, token)
	if err == nil && expired {
		_, err = a.inOutage(r, token, thumbprint(proof))
	} else if err == nil {
		_, err = a.sessions.VerifyBound(token, proof.Thumbprint)
	}
	switch {
	case errors.Is(err, refresh.ErrRevoked), errors.Is(err, access.ErrExpired):
		return nil, err
	case err == nil:
		err = a.proofs.add(proof, a.sessions.Access().Now())
	}
	if err != nil {
		return nil, a.proofFailed(r, c, err)
	}
	return c, nil
}

// keyOf is the key that a token is bound to, whose proof a guard has seen.
func keyOf(c *access.Claims) (k family.Key) {
	if raw, err := base64.RawURLEncoding.DecodeString(c.KeyThumbprint); err == nil && len(raw) == len(k.Thumbprint) {
		k.Kind, k.Thumbprint = family.KeyDPoP, [32]byte(raw)
	}
	return k
}

func thumbprint(p access.DPoPProof) string {
	return base64.RawURLEncoding.EncodeToString(p.Thumbprint[:])
}

// boundAsBearer is the answer to an access token that is bound to a key and came
// as Bearer: a copy of it opens nothing.
func (a *Auth) boundAsBearer(r *http.Request, token string) error {
	c, err := a.sessions.Access().VerifyWithin(token, a.cfg.OutageGrace)
	if err != nil {
		return err
	}
	a.record(r, refresh.Event{Kind: refresh.EventProofMissing, Subject: c.Subject, Actor: c.Actor, SessionID: c.SessionID, Generation: uint32(c.Generation), Err: refresh.ErrUnproven})
	return &proofError{code: "invalid_token", description: "The access token is bound to a key: send it as DPoP, with a proof.", cause: refresh.ErrUnproven}
}

// provenClient adds to what is known of a client that asks for tokens the key of
// which a proof came with the request, if one did.
func (a *Auth) provenClient(r *http.Request, c refresh.Client) (refresh.Client, access.DPoPProof, error) {
	if len(r.Header[proofHeader]) == 0 {
		return c, access.DPoPProof{}, nil
	}
	proof, err := a.prove(r, "")
	if err != nil {
		return c, proof, err
	}
	c.Key = family.Key{Kind: family.KeyDPoP, Thumbprint: proof.Thumbprint}
	hash := sha256.Sum256([]byte(proof.ID))
	copy(c.Proof[:], hash[:])
	c.Proof[0] |= 1 // zero is none
	return c, proof, nil
}

// refuseProof refuses a proof with tokens that are or will be in cookies, which a
// key of a native app cannot protect.
func refuseProof(r *http.Request) error {
	if len(r.Header[proofHeader]) > 0 {
		return invalid("A proof of possession came where the tokens are in cookies.")
	}
	return nil
}

const (
	// nonceTime is how long a nonce is handed out. It is accepted as long again,
	// and before by instances whose clocks are behind.
	nonceTime  = time.Minute
	nonceBytes = 16
)

// nonce is what proofs are asked for now: the same for all clients and on all
// instances, and known to nobody before its time.
func (a *Auth) nonce() string {
	secrets := a.sessions.Access().Keys().Secrets("sessionkit v1 dpop nonce")
	if len(secrets) == 0 {
		return ""
	}
	return nonceOf(&secrets[0], nonceWindow(a.sessions.Access().Now()))
}

func (a *Auth) isFreshNonce(nonce string) bool {
	secrets, now := a.sessions.Access().Keys().Secrets("sessionkit v1 dpop nonce"), nonceWindow(a.sessions.Access().Now())
	fresh := 0
	for i := range secrets {
		for window := now - 1; window <= now+1; window++ {
			fresh |= subtle.ConstantTimeCompare([]byte(nonce), []byte(nonceOf(&secrets[i], window)))
		}
	}
	return fresh == 1
}

func nonceWindow(t time.Time) int64 { return t.Unix() / int64(nonceTime/time.Second) }

func nonceOf(secret *access.Secret, window int64) string {
	mac := hmac.New(sha256.New, secret.Key[:])
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(window)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:nonceBytes])
}

// keepNonce brings clients that need nonces the next one with each answer, so
// that one in use is never refused for it.
func (a *Auth) keepNonce(h http.Header) {
	if a.cfg.DPoP.RequireNonce {
		h.Set(nonceHeader, a.nonce())
	}
}
