package refresh

import (
	"sync"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// lostAnswers counts how often a session shows the predecessor of one and the
// same generation long after the rotation: a client does that when something
// between here and it drops what a renewal brings, such as a proxy, or a
// framework's adapter that loses Set-Cookie. It is signed in all the same, and
// renews at every request.
type lostAnswers struct {
	mu    sync.Mutex
	count map[family.ID]lostAnswer
}

type lostAnswer struct {
	generation uint32
	times      int
}

const (
	// lostTimes is after how many such presentations it is an event.
	lostTimes = 3
	// maxLost bounds what is remembered; then counting begins anew.
	maxLost = 10_000
)

// again counts one, and reports whether it is one of those to be told.
func (l *lostAnswers) again(id family.ID, generation uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.count[id]
	if a.generation != generation {
		a = lostAnswer{generation: generation}
	}
	a.times++
	if l.count == nil || len(l.count) >= maxLost {
		l.count = make(map[family.ID]lostAnswer)
	}
	l.count[id] = a
	return a.times%lostTimes == 0
}
