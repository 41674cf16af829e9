package frameworks

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"
	"github.com/gin-gonic/gin"
	"github.com/gofiber/fiber/v3"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/middleware/authtest"
)

func TestServeMux(t *testing.T) {
	t.Parallel()
	conform(t, adapter{start: handlerOf(serveMux)})
}

func TestChi(t *testing.T) {
	t.Parallel()
	conform(t, adapter{start: handlerOf(chiRouter)})
}

func TestGin(t *testing.T) {
	t.Parallel()
	gin.SetMode(gin.ReleaseMode)
	conform(t, adapter{start: handlerOf(func(kit *sessionkit.Kit, late func()) http.Handler { return ginEngine(kit, late, ginGuard) })})
}

// The short adapter of gin loses no cookie, but leaves a handler's own caching
// headers on renewals.
func TestGinShort(t *testing.T) {
	t.Parallel()
	gin.SetMode(gin.ReleaseMode)
	conform(t, adapter{keepsCache: true, start: handlerOf(func(kit *sessionkit.Kit, late func()) http.Handler { return ginEngine(kit, late, ginGuardShort) })})
}

func TestEcho(t *testing.T) {
	t.Parallel()
	conform(t, adapter{start: handlerOf(echoServer)})
}

func TestHuma(t *testing.T) {
	t.Parallel()
	conform(t, adapter{start: handlerOf(humaAPI)})
}

func TestFiber(t *testing.T) {
	t.Parallel()
	conform(t, adapter{noHijack: true, repeats: true, start: startFiber})
}

// startFiber runs fiber on its own server.
func startFiber(t *testing.T, kit *sessionkit.Kit, late func()) *httptest.Server {
	s := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate and client
	t.Cleanup(s.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.URL = "https://" + l.Addr().String()
	app := fiberApp(kit, late)
	done := make(chan error, 1)
	go func() {
		done <- app.Listener(tls.NewListener(l, s.TLS), fiber.ListenConfig{DisableStartupMessage: true})
	}()
	t.Cleanup(func() {
		// Without app.Shutdown, which writes what contexts of its requests
		// read without a lock.
		s.Client().CloseIdleConnections()
		l.Close()
		<-done
	})
	return s
}

// Connect, and gRPC by the same handlers: over HTTP/1.1 and HTTP/2, cookies of
// a renewal come in the header of the answer, and a refusal is unauthenticated.
func TestConnect(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]connect.ClientOption{
		"Connect":      nil,
		"Connect JSON": {connect.WithProtoJSON()},
		"gRPC":         {connect.WithGRPC()},
		"gRPC-Web":     {connect.WithGRPCWeb()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := adapter{start: func(t *testing.T, kit *sessionkit.Kit, _ func()) *httptest.Server {
				s := httptest.NewUnstartedServer(connectMux(kit))
				s.EnableHTTP2 = true
				s.StartTLS()
				t.Cleanup(s.Close)
				return s
			}}
			b, kit, _ := a.browser(t)
			who := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](b.http, b.url.String()+whoAmI, options...)
			counter := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](b.http, b.url.String()+count, options...)
			request := func() *connect.Request[emptypb.Empty] {
				r := connect.NewRequest(&emptypb.Empty{})
				r.Header().Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0")
				return r
			}
			ctx := t.Context()
			if _, err := who.CallUnary(ctx, request()); connect.CodeOf(err) != connect.CodeUnauthenticated {
				t.Errorf("without a session: %v", err)
			}
			b.signIn()
			for _, renew := range []bool{false, true} {
				if renew {
					b.expire()
				}
				res, err := who.CallUnary(ctx, request())
				if err != nil || res.Msg.GetValue() != "alice" {
					t.Fatalf("%v, %v", res, err)
				}
				if renew {
					b.renewed(answer{&http.Response{Header: res.Header(), Request: httptest.NewRequest("POST", whoAmI, nil)}, ""}, false)
				}
			}
			b.expire()
			s, err := counter.CallServerStream(ctx, request())
			if err != nil {
				t.Fatal(err)
			}
			var got string
			for s.Receive() {
				got += s.Msg().GetValue()
			}
			if err := errors.Join(s.Err(), s.Close()); err != nil || got != "012" {
				t.Errorf("stream: %q, %v", got, err)
			}
			b.renewed(answer{&http.Response{Header: s.ResponseHeader(), Request: httptest.NewRequest("POST", count, nil)}, ""}, false)

			native := request()
			native.Header().Set("Authorization", "Bearer "+kit.SignIn(authtest.User{Subject: "carol"}).Grant.AccessToken)
			if res, err := who.CallUnary(ctx, native); err != nil || res.Msg.GetValue() != "carol" {
				t.Errorf("with a bearer token: %v, %v", res, err)
			}
		})
	}
}

// gRPC over HTTP/2 without TLS, between servers: the token comes in the header.
func TestGRPCWithoutTLS(t *testing.T) {
	t.Parallel()
	kit := authtest.New(t, sessionkit.Config{})
	s := httptest.NewUnstartedServer(connectMux(kit.Kit))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	transport := &http.Transport{Protocols: s.Config.Protocols}
	t.Cleanup(transport.CloseIdleConnections)
	who := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](&http.Client{Transport: transport}, s.URL+whoAmI, connect.WithGRPC())
	if _, err := who.CallUnary(t.Context(), connect.NewRequest(&emptypb.Empty{})); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("without a token: %v", err)
	}
	r := connect.NewRequest(&emptypb.Empty{})
	r.Header().Set("Authorization", "Bearer "+kit.SignIn(authtest.User{Subject: "carol"}).Grant.AccessToken)
	if res, err := who.CallUnary(t.Context(), r); err != nil || res.Msg.GetValue() != "carol" {
		t.Errorf("%v, %v", res, err)
	}
}
