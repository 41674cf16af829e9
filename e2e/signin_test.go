package e2e

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// everywhere runs a test against the demo as it is started first, as two
// instances on Redis, and over TLS.
func everywhere(t *testing.T, args []string, f func(t *testing.T, base string)) {
	t.Run("embedded", func(t *testing.T) { f(t, demo(t, args...)) })
	t.Run("two instances", func(t *testing.T) { f(t, pair(t, args...)) })
	t.Run("https", func(t *testing.T) { f(t, secure(t, demo(t, args...))) })
}

func TestSignInByForm(t *testing.T) {
	t.Parallel()
	for name, disabled := range map[string]bool{"with script": false, "without script": true} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, nil, func(t *testing.T, base string) {
				b := newBrowser(t)
				call(b.tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: disabled})
				b.visit(base + "/account") // which sends us to the form, and the form back
				b.do(
					chromedp.SendKeys(`input[name=username]`, "alice"), chromedp.SendKeys(`input[name=password]`, "wonderland"),
					chromedp.SendKeys(`input[name=password]`, "\r"), chromedp.WaitNotPresent(`input[name=password]`),
				)
				where, err := chromedp.Run(b.ctx, chromedp.Location())
				if err != nil || where != base+"/account" {
					t.Fatalf("after signing in we are at %s, %v", where, err)
				}
				cookies := b.cookies(base)
				for _, name := range []string{"access", "refresh", "device"} {
					c := cookies["__Host-"+name]
					if c == nil || !c.Secure || !c.HTTPOnly || c.Path != "/" || c.SameSite != network.CookieSameSiteLax || strings.HasPrefix(c.Domain, ".") {
						t.Errorf("%s: %+v", name, c)
					}
				}
				call(b.tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{})
				if got := js[string](b.tab, `return document.cookie`); got != "" {
					t.Errorf("a script sees %q", got)
				}
			})
		})
	}
}
