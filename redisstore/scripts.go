package redisstore

import (
	"context"
	_ "embed"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed layout.lua
	layoutLua string
	//go:embed common.lua
	commonLua string
	//go:embed survey.lua
	surveyLua string
	//go:embed start.lua
	startLua string
	//go:embed rotate.lua
	rotateLua string
	//go:embed bind.lua
	bindLua string
	//go:embed data.lua
	dataLua string
	//go:embed settle.lua
	settleLua string
	//go:embed revoke.lua
	revokeLua string
	//go:embed find.lua
	findLua string
	//go:embed list.lua
	listLua string
	//go:embed announced.lua
	announcedLua string
	//go:embed announce.lua
	announceLua string
	//go:embed news.lua
	newsLua string
	//go:embed probe.lua
	probeLua string

	startScript    = newScript(layoutLua, commonLua, surveyLua, startLua)
	rotateScript   = newScript(layoutLua, strings.Replace(rotateLua, "--COMMON\n", commonLua, 1))
	bindScript     = newScript(layoutLua, commonLua, bindLua)
	dataScript     = newScript(layoutLua, commonLua, dataLua)
	settleScript   = newScript(layoutLua, commonLua, settleLua)
	revokeScript   = newScript(layoutLua, commonLua, surveyLua, revokeLua)
	findScript     = newScript(layoutLua, commonLua, findLua)
	listScript     = newScript(layoutLua, commonLua, surveyLua, listLua)
	announceScript = newScript(announceLua)
	// announcedScript notes in the subject's row what announceScript did.
	announcedScript = newScript(layoutLua, commonLua, announcedLua)
	newsScript      = newScript(newsLua)
	probeScript     = newScript(probeLua)
)

// A script is a text in Lua that servers execute. They keep the texts that they
// have executed by a name, which is the SHA-1 of the text. The server says the
// name: programs that may use approved algorithms only (GODEBUG=fips140=only)
// must not compute it, and redis.NewScript does when the program starts.
type script struct {
	text string
	name atomic.Pointer[string] // nil until a server said it
}

func newScript(parts ...string) *script { return &script{text: strings.Join(parts, "")} }

// Run executes the script by its name, and by its text on a server that does
// not know it.
func (s *script) Run(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd {
	name := s.name.Load()
	if name == nil {
		if name = s.askName(ctx, c, keys); name == nil {
			return s.Eval(ctx, c, keys, args...)
		}
	}
	cmd := c.EvalSha(ctx, *name, keys, args...)
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		return s.Eval(ctx, c, keys, args...)
	}
	return cmd
}

// Eval executes the script by its text.
func (s *script) Eval(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd {
	return c.Eval(ctx, s.text, keys, args...)
}

// askName asks a server, by a script, since not every user may SCRIPT LOAD. It
// returns nil if there was no answer: the script's own execution tells why.
func (s *script) askName(ctx context.Context, c redis.Scripter, keys []string) *string {
	name, err := c.Eval(ctx, "return redis.sha1hex(ARGV[1])", keys, s.text).Text()
	if err != nil {
		return nil
	}
	s.name.Store(&name)
	return &name
}

// EvalSha executes the script by its name in a pipeline. Where no server has
// said the name yet, as after Run it has, it is executed by its text.
func (s *script) EvalSha(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd {
	if name := s.name.Load(); name != nil {
		return c.EvalSha(ctx, *name, keys, args...)
	}
	return s.Eval(ctx, c, keys, args...)
}
