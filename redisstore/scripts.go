package redisstore

import (
	"context"
	_ "embed"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed common.lua
	commonLua string
	//go:embed survey.lua
	surveyLua string
	//go:embed start.lua
	startLua string
	//go:embed ordinary.lua
	ordinaryLua string
	//go:embed rotate.lua
	rotateLua string
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

	startScript    = redis.NewScript(commonLua + surveyLua + startLua)
	rotateScript   = redis.NewScript(ordinaryLua + commonLua + rotateLua)
	settleScript   = redis.NewScript(commonLua + settleLua)
	revokeScript   = redis.NewScript(commonLua + surveyLua + revokeLua)
	findScript     = redis.NewScript(commonLua + findLua)
	listScript     = redis.NewScript(commonLua + surveyLua + listLua)
	announceScript = redis.NewScript(announceLua)
	// announcedScript notes in the subject's row what announceScript did.
	announcedScript = redis.NewScript(commonLua + announcedLua)
	newsScript      = redis.NewScript(newsLua)
	probeScript     = redis.NewScript(probeLua)
)

// run executes a script on its keys, by its hash, and by its text on a server
// that does not know it (after a restart, a failover, SCRIPT FLUSH).
func (s *Store) run(ctx context.Context, script *redis.Script, keys []string, args ...any) (any, error) {
	return do(ctx, s, func(ctx context.Context) (any, error) {
		return s.send(ctx, script, keys, args)
	})
}
