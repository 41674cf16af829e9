package middleware

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"html"
	"io"
	"net/http"
)

// The pages that a browser with a device key may show for a moment. Both come
// back by themselves, with and without script; with script the part of the
// address behind # stays.
const (
	renewScript = `location.reload()`
	retryScript = `setTimeout(function(){location.reload()},2000+Math.random()*2000)`
	pageStyle   = `:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:20vh auto;max-width:28em;padding:0 1em;text-align:center}`

	renewText = `<p>One moment …</p>`
	retryText = `<h1>We will be back in a moment</h1><p>You are still signed in. This page tries again by itself.</p>`
)

func sourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// writeRenewPage answers a navigation from elsewhere: the page asks for the same
// address again, as the origin itself, and then the browser renews the session
// first. A redirect would not do: the browser would still know who began.
func (a *Auth) writeRenewPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	writePage(w, r, http.StatusUnauthorized, renewScript, "0", cmp.Or(a.cfg.DBSC.RenewPage, renewText))
}

// writeRetryPage answers a navigation while the session cannot be renewed.
func (a *Auth) writeRetryPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", retryAfter)
	writePage(w, r, http.StatusServiceUnavailable, retryScript, "3", cmp.Or(a.cfg.DBSC.RetryPage, retryText))
}

func writePage(w http.ResponseWriter, r *http.Request, status int, script, seconds, body string) {
	h := w.Header()
	harden(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src "+sourceHash(script)+"; style-src "+sourceHash(pageStyle)+"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	again := ""
	// Without a path that is ours beyond doubt, the page waits for the user.
	if path := LocalPath(r.RequestURI, ""); path != "" {
		again = `<noscript><meta http-equiv="refresh" content="` + seconds + `; url=` + html.EscapeString(path) + `"></noscript>`
	}
	w.WriteHeader(status)
	io.WriteString(w, `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex"><title>One moment</title><style>`+
		pageStyle+`</style>`+again+`<script>`+script+`</script><body>`+body+`</body></html>`)
}
