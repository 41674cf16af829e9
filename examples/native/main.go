// Command native plays a mobile app against the demo: it keeps its tokens in a
// file as an app keeps them in the Keychain or Keystore, names its device, renews
// its session by itself, and proves with each request that it has the key that the
// session is bound to (DPoP, RFC 9449): the tokens alone open nothing.
//
//	go run ./examples/native login alice wonderland
//	go run ./examples/native me
//	go run ./examples/native watch
//	go run ./examples/native sessions
//	go run ./examples/native logout
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "native:", err)
		os.Exit(1)
	}
}

const usage = `usage: native [flags] command

  login USER PASSWORD   sign in; the demo has alice / wonderland
  me                    show who is signed in
  watch                 show it again and again, and see the session renew itself
  sessions              list the devices of the user
  logout                sign out

flags:
`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("native", flag.ContinueOnError)
	f.SetOutput(stderr)
	server := f.String("server", "http://127.0.0.1:8080", "where the demo listens")
	state := f.String("state", "", "file that keeps the tokens (default: in the user's configuration directory)")
	every := f.Duration("every", time.Second, "how often watch asks")
	f.Usage = func() {
		fmt.Fprint(stderr, usage)
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() == 0 {
		f.Usage()
		return errors.New("a command is missing")
	}
	if *state == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return err
		}
		*state = filepath.Join(dir, "sessionkit-native.json")
	}
	app, err := openApp(*server, *state)
	if err != nil {
		return err
	}
	switch command := f.Arg(0); {
	case command == "login" && f.NArg() == 3:
		return app.login(ctx, f.Arg(1), f.Arg(2))
	case command == "me" && f.NArg() == 1:
		return show(ctx, app, stdout, "/api/me")
	case command == "sessions" && f.NArg() == 1:
		return show(ctx, app, stdout, "/auth/sessions")
	case command == "watch" && f.NArg() == 1:
		return watch(ctx, app, stdout, *every)
	case command == "logout" && f.NArg() == 1:
		return app.logout(ctx)
	}
	return fmt.Errorf("no command %q with %d arguments: see native -help", f.Arg(0), f.NArg()-1)
}

func show(ctx context.Context, app *app, stdout io.Writer, path string) error {
	text, err := app.get(ctx, path)
	if err == nil {
		_, err = fmt.Fprintf(stdout, "%s", text)
	}
	return err
}

// watch goes on until it is interrupted or the session ends.
func watch(ctx context.Context, app *app, stdout io.Writer, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := show(ctx, app, stdout, "/api/me"); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
