package refresh

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// A keySession names a session and the public key that its refreshes are signed
// with. As text it is the session identifier of DBSC, which the browser shows at
// each refresh, and the refresh cookie of a session that is bound. It opens
// nothing: only a signature of the key does. It is, in base64url without
// padding,
//
//	 1 byte   version, 'K', which no refresh token begins with
//	 1 byte   flags: 1 the login ends with its browser, 4 the record has what the
//	          claims hook is told, 16 somebody acts for the subject, 32 the key
//	          was registered together with the session's refresh cookie
//	16 bytes  family id; its first two bytes name the root secret
//	 2 bytes  length of the key, big endian
//	 k bytes  key, a SubjectPublicKeyInfo
//	 1 byte   with flag 16: the length of
//	 n bytes  who acts for the subject, 1 to 255 bytes of UTF-8
//	 n bytes  subject, 1 to 255 bytes of UTF-8
//	32 bytes  HMAC-SHA256 of all of the above
//
// The MAC makes it authentic by itself, so that neither a registration nor a
// refresh asks a store who it speaks of. A change of the layout takes another
// version.
type keySession struct {
	token        // without generation and secret
	shown bool   // the browser has shown the refresh cookie beside its key
	key   []byte // a SubjectPublicKeyInfo
	text  string // as it was read
}

const (
	keySessionVersion = 'K'
	keySessionHead    = 1 + 1 + 16 + 2
	keySessionShown   = 32
	keySessionFlags   = flagBrowser | flagTold | flagActor | keySessionShown
	// maxDeviceKey is beyond an RSA key of 4096 bits.
	maxDeviceKey = 600
)

var maxKeySessionText = base64.RawURLEncoding.EncodedLen(keySessionHead + maxDeviceKey + 1 + maxSubject + maxSubject + tokenMAC)

// A ticket is the challenge of a registration: whoever has it may propose a key
// for the session. It goes to the browser with the answer to a sign-in, and lasts
// for as long as a browser takes to make a key. In base64url without padding:
//
//	 1 byte   version, 'T'
//	 1 byte   flags: 1 the login ends with its browser
//	16 bytes  family id; its first two bytes name the root secret
//	 4 bytes  when it was made, in seconds since 1970, big endian
//	 n bytes  subject, 1 to 255 bytes of UTF-8
//	32 bytes  HMAC-SHA256 of all of the above
type ticket struct {
	browser bool
	family  family.ID
	made    time.Time
	subject string
}

const (
	ticketVersion = 'T'
	ticketHead    = 1 + 1 + 16 + 4
	// ticketLifetime is ample for making a key in slow hardware and for one
	// request.
	ticketLifetime = 2 * time.Minute
)

var maxTicketText = base64.RawURLEncoding.EncodedLen(ticketHead + maxSubject + tokenMAC)

const (
	// challengeWindow is how long the same challenge is handed out. A browser
	// signs an unchanged challenge once, and makes 6 signatures in 9 minutes at
	// most: this leaves it some.
	challengeWindow = 3 * time.Minute
	// challengeSpare is how much longer than an access token a challenge is good:
	// the browser has it from the answer that brought the access cookie, and
	// signs it when that has expired.
	challengeSpare = 10 * time.Minute
	// maxChallengeAge bounds it where access tokens live long.
	maxChallengeAge = time.Hour
	challengeMAC    = 16
)

// A keyCodec makes and reads what device keys need. Each kind has a key of its
// own, so that none passes for another.
type keyCodec struct{ session, ticket, challenge purpose }

func newKeyCodec(tokens *access.Tokens) *keyCodec {
	c := new(keyCodec)
	for name, p := range map[string]*purpose{
		"device key session": &c.session, "device key ticket": &c.ticket, "device key challenge": &c.challenge,
	} {
		p.ring, p.name = tokens.Keys(), "sessionkit v1 "+name+"\x00"+tokens.Issuer()+"\x00"+tokens.Audience()
	}
	return c
}

// seal appends the MAC and returns the text, or "" when the family's root
// secret left the ring.
func seal(p *purpose, id family.ID, b []byte) string {
	key := p.key(id)
	if key == nil {
		return ""
	}
	sum := mac(key, b)
	return base64.RawURLEncoding.EncodeToString(append(b, sum[:]...))
}

// unseal returns what seal was given, if the MAC is right: at least head bytes
// and one more, of which the first is the version and the third to the
// eighteenth the family.
func unseal(p *purpose, text string, limit, head int, version byte) (b []byte, id family.ID, ok bool) {
	if len(text) > limit || strings.ContainsAny(text, "\r\n") {
		return nil, id, false // the decoder would skip line breaks
	}
	b, err := strictBase64.DecodeString(text)
	if err != nil || len(b) <= head+tokenMAC || b[0] != version {
		return nil, id, false
	}
	copy(id[:], b[2:])
	body, sum := b[:len(b)-tokenMAC], b[len(b)-tokenMAC:]
	key := p.key(id)
	if key == nil {
		return nil, id, false
	}
	want := mac(key, body)
	return body, id, hmac.Equal(sum, want[:])
}

func (c *keyCodec) encode(k *keySession) string {
	flags := flag(k.browser, flagBrowser) | flag(k.told, flagTold) | flag(k.actor != "", flagActor) | flag(k.shown, keySessionShown)
	b := append(make([]byte, 0, keySessionHead+len(k.key)+1+len(k.actor)+len(k.subject)+tokenMAC), keySessionVersion, flags)
	b = append(b, k.family[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(k.key)))
	b = append(b, k.key...)
	if k.actor != "" {
		b = append(append(b, byte(len(k.actor))), k.actor...)
	}
	return seal(&c.session, k.family, append(b, k.subject...))
}

// decode fails with ErrInvalidToken, whatever is wrong.
func (c *keyCodec) decode(text string) (*keySession, error) {
	b, id, ok := unseal(&c.session, text, maxKeySessionText, keySessionHead, keySessionVersion)
	if !ok || b[1]&^keySessionFlags != 0 {
		return nil, ErrInvalidToken
	}
	end := keySessionHead + int(binary.BigEndian.Uint16(b[18:]))
	if end >= len(b) {
		return nil, ErrInvalidToken
	}
	k := &keySession{shown: b[1]&keySessionShown != 0, key: b[keySessionHead:end], text: text}
	k.browser, k.told, k.family = b[1]&flagBrowser != 0, b[1]&flagTold != 0, id
	if !k.setNames(b[1]&flagActor, b[end:]) {
		return nil, ErrInvalidToken
	}
	return k, nil
}

// newTicket returns the text of a ticket for a new session.
func (c *keyCodec) newTicket(tok *token, now time.Time) string {
	b := append(make([]byte, 0, ticketHead+len(tok.subject)+tokenMAC), ticketVersion, flag(tok.browser, flagBrowser))
	b = append(b, tok.family[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(now.Unix()))
	return seal(&c.ticket, tok.family, append(b, tok.subject...))
}

// readTicket fails with ErrInvalidToken, whatever is wrong.
func (c *keyCodec) readTicket(text string, now time.Time) (ticket, error) {
	b, id, ok := unseal(&c.ticket, text, maxTicketText, ticketHead, ticketVersion)
	if !ok || b[1]&^flagBrowser != 0 || len(b)-ticketHead > maxSubject {
		return ticket{}, ErrInvalidToken
	}
	t := ticket{browser: b[1]&flagBrowser != 0, family: id, made: time.Unix(int64(binary.BigEndian.Uint32(b[18:])), 0), subject: string(b[ticketHead:])}
	if age := now.Sub(t.made); age > ticketLifetime || age < -family.ClockSkew {
		return ticket{}, ErrInvalidToken
	}
	return t, nil
}

// newChallenge returns what the key of a session has to sign: the number of the
// time window, and a MAC of it and the session. Nobody has to remember it, and
// it is good for no other session, and for nothing but a refresh.
func (c *keyCodec) newChallenge(k *keySession, now time.Time) string {
	return c.challengeOf(k, uint32(now.Unix()/int64(challengeWindow/time.Second)))
}

func (c *keyCodec) challengeOf(k *keySession, window uint32) string {
	key := c.challenge.key(k.family)
	if key == nil {
		return ""
	}
	b := binary.BigEndian.AppendUint32(nil, window)
	sum := mac(key, b, k.family[:], k.key)
	return base64.RawURLEncoding.EncodeToString(append(b, sum[:challengeMAC]...))
}

// accepts reports whether a challenge is one of the session's, and not too old.
// The clock of another instance may be ahead.
func (c *keyCodec) accepts(k *keySession, challenge string, lifetime time.Duration, now time.Time) bool {
	b, err := strictBase64.DecodeString(challenge)
	if err != nil || len(b) != 4+challengeMAC {
		return false
	}
	window := binary.BigEndian.Uint32(b)
	if want := c.challengeOf(k, window); want == "" || !equalText(challenge, want) {
		return false
	}
	began := time.Unix(int64(window)*int64(challengeWindow/time.Second), 0)
	return now.Sub(began) <= challengeWindow+min(lifetime+challengeSpare, maxChallengeAge) && began.Sub(now) <= family.ClockSkew
}

// signsFor reports whether the session is renewed by a browser's key.
func signsFor(rec *family.Record) bool { return rec.Key.Kind == family.KeyDBSC }

// hasKey reports whether it is that browser's key.
func hasKey(rec *family.Record, thumbprint [32]byte) bool {
	return signsFor(rec) && equal(rec.Key.Thumbprint, thumbprint)
}

// unproven asks for a signature.
func (s *Sessions) unproven(k *keySession) *RefusedError {
	return &RefusedError{
		Err: ErrUnproven, SessionID: k.family.String(), Subject: k.subject,
		KeySession: k.text, KeyChallenge: s.keys.newChallenge(k, s.access.Now()),
	}
}
