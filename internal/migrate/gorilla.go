package migrate

import (
	"errors"
	"io/fs"
	"net/http"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"

	"github.com/sessionkit/sessionkit/refresh"
)

// gorillaSessions are those of gorilla/sessions, with the user's id as "user".
type gorillaSessions struct {
	store sessions.Store
	name  string
}

// load returns nil for a cookie that is absent, forged, too old, or of a session
// that the store does not have.
func (g gorillaSessions) load(r *http.Request) (*sessions.Session, error) {
	s, err := g.store.Get(r, g.name)
	var decoding securecookie.Error
	switch {
	case errors.As(err, &decoding) && decoding.IsDecode(), errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case s.IsNew:
		return nil, nil
	}
	return s, nil
}

func (g gorillaSessions) read(r *http.Request) (*refresh.Login, error) {
	s, err := g.load(r)
	if s == nil {
		return nil, err
	}
	user, _ := s.Values["user"].(string)
	ends, ending := s.Values["ends"].(int64)
	if user == "" || ending && time.Now().Unix() >= ends {
		return nil, nil
	}
	return &refresh.Login{Subject: user, Remember: s.Options.MaxAge > 0}, nil
}

func (g gorillaSessions) end(w http.ResponseWriter, r *http.Request, after time.Duration) error {
	s, err := g.load(r)
	if s == nil {
		return err
	}
	at := time.Now().Add(after).Unix()
	if ends, ending := s.Values["ends"].(int64); !ending || at < ends {
		s.Values["ends"] = at
		// CookieStore keeps nothing on the server: this changes nothing there.
		if err := s.Save(r, w); err != nil {
			return err
		}
	}
	deletion := *s.Options
	deletion.MaxAge = -1
	http.SetCookie(w, sessions.NewCookie(g.name, "", &deletion)) // the later line counts
	return nil
}
