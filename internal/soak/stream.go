package main

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// A streamedResponse reaches its client while the handler goes on.
type streamedResponse struct {
	header  http.Header
	once    sync.Once
	sent    http.Response
	arrived chan struct{} // closed when the header is sent
}

func newStreamedResponse() *streamedResponse {
	return &streamedResponse{header: make(http.Header), arrived: make(chan struct{})}
}

// Header implements http.ResponseWriter.
func (s *streamedResponse) Header() http.Header { return s.header }

// WriteHeader implements http.ResponseWriter.
func (s *streamedResponse) WriteHeader(code int) {
	s.once.Do(func() {
		s.sent = http.Response{StatusCode: code, Header: s.header.Clone()}
		close(s.arrived)
	})
}

// Write implements http.ResponseWriter.
func (s *streamedResponse) Write(b []byte) (int, error) {
	s.WriteHeader(http.StatusOK)
	return len(b), nil
}

// Flush implements http.Flusher.
func (s *streamedResponse) Flush() { s.WriteHeader(http.StatusOK) }

// stream keeps a stream open, as a page that shows news does, until ctx ends.
func (u *user) stream(ctx context.Context, r *rand.Rand) {
	for ctx.Err() == nil {
		pause(ctx, time.Duration(r.Int64N(int64(u.w.lifetime/4))))
		life, jar, sid := u.state()
		if sid == "" || ctx.Err() != nil {
			continue
		}
		skipped := ""
		if u.habits.keyed {
			skipped = u.hold(life, r)
			_, jar, _ = u.state()
		}
		open, leave := context.WithTimeout(life, time.Duration(r.Int64N(int64(3*u.w.lifetime))))
		stop := context.AfterFunc(ctx, leave)
		u.listen(life, open, leave, r, jar, sid, skipped)
		stop()
		leave()
	}
}

// listen opens one stream, and stays until it ends: because the server says so,
// or because open does, which leave brings about. life is the browser's, and skipped
// is why it could not renew the session by its key.
func (u *user) listen(life, open context.Context, leave func(), r *rand.Rand, jar map[string]string, sid, skipped string) {
	w, in, f := u.w, u.w.any(r), u.w.family(sid)
	req := u.request("GET", "/stream", "", jar)
	if u.native {
		req.Header.Set("Authorization", "Bearer "+jar["access"])
	}
	says(req, jar, skipped)
	w.account.requests.Add(1)
	sent := time.Now()
	if w.travel(open, r); open.Err() != nil {
		return
	}
	res, done := newStreamedResponse(), make(chan struct{})
	go func() {
		defer close(done)
		f.streaming(in, 1)
		defer f.streaming(in, -1)
		in.handler.ServeHTTP(res, req.WithContext(open))
		res.WriteHeader(http.StatusOK)
	}()
	<-res.arrived
	w.arrived(sid, time.Since(sent))
	if w.travel(open, r); r.IntN(15) == 0 {
		w.account.lostResponses.Add(1)
		leave()
	}
	if open.Err() == nil {
		u.hears(life, sid, &res.sent)
	}
	<-done
	if res.sent.StatusCode == http.StatusOK && open.Err() == nil {
		w.account.streamsEnded.Add(1)
		f.cut.Store(true)
	}
}

// hears is what a client makes of a stream's beginning.
func (u *user) hears(life context.Context, sid string, res *http.Response) {
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 && (!u.habits.keyed || c.Name != accessCookie) {
			u.w.account.violated("%s: cookies of session %s were deleted", u.name, sid)
		}
	}
	switch res.StatusCode {
	case http.StatusOK:
		u.w.account.streams.Add(1)
		u.keep(life, res)
	case http.StatusServiceUnavailable:
		u.w.account.unavailable.Add(1)
	case http.StatusUnauthorized:
		if !u.native && !asksForProof(res) { // an app's access token has run out; it renews elsewhere
			u.signedOut(sid)
		}
	default:
		u.w.account.violated("%s: status %d for a stream", u.name, res.StatusCode)
	}
}

// probeStreams: an instance whose feed works has ended the streams of a session
// that was ended.
func (w *world) probeStreams(ctx context.Context, sid string) {
	pause(ctx, staleAfter+5*time.Second)
	f := w.family(sid)
	for _, in := range w.instances {
		switch {
		case ctx.Err() != nil || in.sessions.FeedStale():
		case f.streaming(in, 0) > 0 && !in.sessions.FeedStale():
			w.account.violated("session %s was ended, and a stream of it goes on", sid)
		default:
			w.account.streamsProbed.Add(1)
		}
	}
}
