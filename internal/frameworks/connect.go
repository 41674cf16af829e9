package frameworks

import (
	"context"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/middleware"
)

const (
	whoAmI = "/suite.v1.Suite/WhoAmI"
	count  = "/suite.v1.Suite/Count"
)

func connectMux(kit *sessionkit.Kit) http.Handler {
	services := http.NewServeMux() // in place of what protoc-gen-connect-go writes
	services.Handle(whoAmI, connect.NewUnaryHandler(whoAmI, func(ctx context.Context, _ *connect.Request[emptypb.Empty]) (*connect.Response[wrapperspb.StringValue], error) {
		res := connect.NewResponse(wrapperspb.String(middleware.Subject(ctx)))
		cacheable(res.Header().Set)
		return res, nil
	}))
	services.Handle(count, connect.NewServerStreamHandler(count, func(_ context.Context, _ *connect.Request[emptypb.Empty], s *connect.ServerStream[wrapperspb.StringValue]) error {
		for _, text := range []string{"0", "1", "2"} {
			if err := s.Send(wrapperspb.String(text)); err != nil {
				return err
			}
		}
		return nil
	}))

	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", login(kit))
	mux.Handle("/api/auth/", kit.Handler("/api/auth"))
	mux.Handle("/", kit.RequireAuth(services))
	return mux
}
