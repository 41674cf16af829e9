package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/sessionkit/sessionkit/refresh"
)

// handlers pass each event to several handlers.
type handlers []refresh.EventHandler

func (hs handlers) HandleEvent(ctx context.Context, e refresh.Event) {
	for _, h := range hs {
		h.HandleEvent(ctx, e)
	}
}

// broadcast is a refresh.EventHandler for pages that show events as they happen.
// A page that is too slow misses some.
type broadcast struct {
	mu        sync.Mutex
	listeners map[chan refresh.Event]struct{}
}

func newBroadcast() *broadcast { return &broadcast{listeners: make(map[chan refresh.Event]struct{})} }

func (b *broadcast) HandleEvent(_ context.Context, e refresh.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for l := range b.listeners {
		select {
		case l <- e:
		default:
		}
	}
}

func (b *broadcast) listen() (events chan refresh.Event, stop func()) {
	events = make(chan refresh.Event, 64)
	b.mu.Lock()
	b.listeners[events] = struct{}{}
	b.mu.Unlock()
	return events, func() {
		b.mu.Lock()
		delete(b.listeners, events)
		b.mu.Unlock()
	}
}

// events streams the security events of the signed-in user, as the app's
// monitoring sees them.
func (a *app) events(w http.ResponseWriter, r *http.Request) {
	events, stop := a.live.listen()
	defer stop()
	subject := session(r).Subject
	// Not the session's end, which is what one wants to see.
	a.serveStream(w, r, r.Context(), func(ctx context.Context, send func(string) error) error {
		if err := send(`{"event":"connected"}`); err != nil {
			return err
		}
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case e := <-events:
				if e.Subject != subject {
					continue
				}
				line, err := json.Marshal(map[string]any{
					"time": e.Time.UTC().Format(time.RFC3339Nano), "event": e.Kind, "session_id": e.SessionID,
					"generation": e.Generation, "actor": e.Actor, "reason": e.Reason, "user_agent": e.UserAgent, "ip": e.IP,
				})
				if err != nil {
					return err
				}
				if err := send(string(line)); err != nil {
					return err
				}
			}
		}
	})
}

// stolen are the refresh tokens that the page's thief has copied, by session.
// A real thief would have them from the user's disk.
type stolen struct {
	mu     sync.Mutex
	tokens map[string]loot
}

type loot struct {
	token  string
	client refresh.Client
	at     time.Time
}

const (
	maxStolen     = 1000
	keepStolenFor = time.Hour
)

// steal copies the refresh token out of the caller's own request.
func (a *app) steal(w http.ResponseWriter, r *http.Request) {
	var copied *http.Cookie
	for _, c := range r.Cookies() {
		if c.Name == "__Host-refresh" || c.Name == "refresh" {
			copied = c
		}
	}
	if copied == nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "There is no refresh cookie to steal.")
		return
	}
	s := &a.stolen
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, old := range s.tokens {
		if time.Since(old.at) > keepStolenFor || len(s.tokens) >= maxStolen {
			delete(s.tokens, id)
		}
	}
	if s.tokens == nil {
		s.tokens = make(map[string]loot)
	}
	s.tokens[session(r).SessionID] = loot{copied.Value, a.BrowserClient(r), time.Now()}
	noContent(w)
}

// stealAll plays a thief who has copied all cookies, and comes with them when the
// access token among them has run out: once, with one request, from what looks like
// the owner's own browser. It tells what came of it. What the thief gets is thrown
// away, which is a lost answer to the owner.
func (a *app) stealAll(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	copied := r.Clone(ctx) // with nothing of what the guard of this request knows
	copied.Method, copied.Body = http.MethodGet, http.NoBody
	copied.Header.Del("Cookie")
	for _, c := range r.Cookies() {
		if c.Name != "__Host-access" && c.Name != "access" {
			copied.AddCookie(c)
		}
	}
	opened := false
	answer := &headerOnly{header: make(http.Header)}
	a.RequireAuth(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { opened = true })).ServeHTTP(answer, copied)
	if answer.status == http.StatusServiceUnavailable {
		a.WriteError(w, r, refresh.ErrUnavailable)
		return
	}
	outcome := "refused"
	if opened {
		outcome = "accepted"
	}
	writeJSON(w, http.StatusOK, map[string]any{"outcome": outcome, "device_bound": session(r).DeviceBound})
}

// replay plays the thief: it presents the copied token, from what looks like
// the owner's own browser, and tells what came of it.
func (a *app) replay(w http.ResponseWriter, r *http.Request) {
	a.stolen.mu.Lock()
	l, ok := a.stolen.tokens[session(r).SessionID]
	a.stolen.mu.Unlock()
	if !ok {
		writeError(w, http.StatusNotFound, "not_found", "Nothing was stolen from that session.")
		return
	}
	_, err := a.Sessions.Refresh(r.Context(), l.token, l.client)
	outcome := "accepted"
	switch {
	case errors.Is(err, refresh.ErrReused):
		outcome = "reuse_detected"
	case errors.Is(err, refresh.ErrRefused):
		outcome = "refused"
	case err != nil:
		a.WriteError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"outcome": outcome})
}
