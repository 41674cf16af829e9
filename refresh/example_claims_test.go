package refresh_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/sessionkit/sessionkit/refresh"
)

type account struct {
	Active bool
	Roles  []string
}

type accounts map[string]account

func (a accounts) ByID(_ context.Context, id string) (account, error) { return a[id], nil }

var users = accounts{"alice": {Active: true, Roles: []string{"editor"}}, "bob": {}}

func rolesOf(ctx context.Context, q refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
	user, err := users.ByID(ctx, q.Subject)
	switch {
	case err != nil: // the database is away: try again later
		return refresh.SubjectClaims{}, err
	case !user.Active: // deactivated: the session ends
		return refresh.SubjectClaims{}, refresh.ErrDenied
	}
	return refresh.SubjectClaims{Roles: user.Roles}, nil
}

// A deactivated user is refused for good; every other error is temporary.
func ExampleClaimsFunc_deactivated() {
	claims, _ := rolesOf(context.Background(), refresh.ClaimsRequest{Subject: "alice"})
	_, err := rolesOf(context.Background(), refresh.ClaimsRequest{Subject: "bob"})
	fmt.Println(claims.Roles, errors.Is(err, refresh.ErrDenied))
	// Output: [editor] true
}
