package e2e

import (
	"strings"
	"testing"

	"github.com/sessionkit/sessionkit/middleware"
)

// wrapped makes requests with the fetch wrapper that the demo serves.
const wrapped = `
	const { createFetch } = await import('/sessionkit.js')
	window.gone = 0
	const fetch = window.wrapped ||= createFetch({onSignedOut: () => window.gone++})
`

// TestTheFetchWrapper: with transparent renewal turned off, three tabs with ten
// requests each renew once between them; bodies are sent again; the end of the
// session is told once.
func TestTheFetchWrapper(t *testing.T) {
	t.Parallel()
	s := newApp(t, nil, middleware.Config{NoTransparentRefresh: true})
	b := newBrowser(t)
	b.signIn(s.base, "alice", "")
	page := s.base + "/e2e/page"
	b.visit(page)
	before := b.me()
	tabs := []*tab{b.tab, b.open(page), b.open(page)}
	b.expire()
	for _, answers := range parallel(tabs, func(tb *tab) []me {
		return js[[]me](tb, wrapped+`return await Promise.all(Array.from({length: 10}, async () => {
			const r = await fetch('/api/me'); const j = r.ok ? await r.json() : {}; j.Status = r.status; return j
		}))`)
	}) {
		for _, m := range answers {
			if m.Status != 200 || m.Session != before.Session || m.Generation != before.Generation+1 {
				t.Errorf("%+v, before %+v", m, before)
			}
		}
	}
	renewals := func() int {
		return len(s.passed(func(x exchange) bool { return strings.HasPrefix(x.path, "/auth/token/refresh") }))
	}
	if n := renewals(); n != 1 {
		t.Errorf("%d renewals", n)
	}

	b.expire()
	if got := js[string](b.tab, wrapped+`return (await fetch('/api/echo', {method: 'POST', body: 'hello'})).text()`); got != "hello" {
		t.Errorf("a body that was sent again: %q", got)
	}
	if n := renewals(); n != 2 {
		t.Errorf("%d renewals", n)
	}

	if got := b.status("POST", "/auth/logout"); got != 204 {
		t.Fatal(got)
	}
	if got := js[[]int](b.tab, wrapped+`const r = await Promise.all([1, 2, 3].map(() => fetch('/api/me')))
		return [...r.map(r => r.status), window.gone]`); len(got) != 4 || got[0] != 401 || got[1] != 401 || got[3] != 1 {
		t.Errorf("after a logout: %v", got)
	}
}

// TestTheFetchWrapperWaitsForNobodyTooLong: a repeated request that hangs holds up
// no other one, a renewal without an answer fails in time, and one that another
// tab has done is not done again.
func TestTheFetchWrapperWaitsForNobodyTooLong(t *testing.T) {
	t.Parallel()
	s := newApp(t, nil, middleware.Config{NoTransparentRefresh: true})
	b := newBrowser(t)
	b.visit(s.base + "/e2e/page")
	const pretend = `
		const { createFetch } = await import('/sessionkit.js')
		const never = signal => new Promise((_, fail) => signal?.addEventListener('abort', () => fail(signal.reason)))
		const pretend = state => createFetch({patience: 500, fetch: (input, init) => {
			const path = new URL(input.url ?? input, location).pathname
			state[path] = (state[path] ?? 0) + 1
			if (path === '/auth/token/refresh') return state.mute ? never(init.signal) : Promise.resolve(Response.json({}))
			if (state[path] === 1) return new Promise(done => setTimeout(done, state.late ?? 0, new Response('', {status: 401})))
			return path === '/hangs' ? never(input.signal) : Promise.resolve(new Response('', {status: 200}))
		}})
	`
	if got := js[int](b.tab, pretend+`
		const fetch = pretend({})
		fetch('/hangs')
		return (await fetch('/other')).status`); got != 200 {
		t.Errorf("beside a request that hangs: %d", got)
	}
	if got := js[string](b.tab, pretend+`
		const state = {mute: true}, fetch = pretend(state)
		const first = await fetch('/one').then(r => r.status, e => e.name)
		state.mute = false
		return first + ' ' + (await fetch('/two')).status`); got != "TimeoutError 200" {
		t.Errorf("a renewal without an answer, and the next one: %s", got)
	}
	// The answer to this tab's request is late: meanwhile another tab renews.
	other := b.open(s.base + "/e2e/page")
	for _, got := range parallel([]*tab{b.tab, other}, func(tb *tab) int {
		late := "0"
		if tb == b.tab {
			late = "3000"
		}
		return js[int](tb, pretend+`
			const state = {late: `+late+`}, fetch = pretend(state)
			await fetch('/page')
			return state['/auth/token/refresh'] ?? 0`)
	})[:1] {
		if got != 0 {
			t.Errorf("%d renewals after that of another tab", got)
		}
	}
}
