package migrate

import (
	"context"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/sessionkit/sessionkit/refresh"
)

// scsSessions are those of alexedwards/scs, with the user's id as "user".
type scsSessions struct{ *scs.SessionManager }

func (s scsSessions) load(r *http.Request) (context.Context, error) {
	c, err := r.Cookie(s.Cookie.Name)
	if err != nil {
		return s.Load(r.Context(), "")
	}
	return s.Load(r.Context(), c.Value)
}

func (s scsSessions) read(r *http.Request) (*refresh.Login, error) {
	ctx, err := s.load(r)
	if err != nil {
		return nil, err
	}
	user, ends := s.GetString(ctx, "user"), s.GetInt64(ctx, "ends")
	if user == "" || ends != 0 && time.Now().Unix() >= ends {
		return nil, nil
	}
	return &refresh.Login{
		Subject: user, Remember: s.Cookie.Persist || s.GetBool(ctx, "__rememberMe"),
		// The move makes no session longer.
		AbsoluteLifetime: max(time.Second, time.Until(s.Deadline(ctx))),
	}, nil
}

func (s scsSessions) end(w http.ResponseWriter, r *http.Request, after time.Duration) error {
	ctx, err := s.load(r)
	if err != nil {
		return err
	}
	if s.GetString(ctx, "user") == "" {
		return nil
	}
	at := time.Now().Add(after).Unix()
	if ends := s.GetInt64(ctx, "ends"); ends == 0 || at < ends {
		s.Put(ctx, "ends", at)
		if _, _, err := s.Commit(ctx); err != nil {
			return err
		}
	}
	s.WriteSessionCookie(ctx, w, "", time.Time{}) // deletes it
	return nil
}
