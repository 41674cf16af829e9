package e2e

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// faint finds text that stands out too little from what is behind it: by the
// measure of WCAG 2.2, 4.5 to 1, or 3 to 1 for large text (1.4.3). What is
// disabled is exempt.
const faint = `
	const channel = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
	const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true})
	const rgba = (text) => {
		canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1)
		return [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255)
	}
	const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]))
	const behind = (e) => {
		const layers = []
		for (; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor))
		return layers.reduceRight((below, top) => over(top, below), [1, 1, 1])
	}
	const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2])
	const found = []
	for (const e of document.querySelectorAll('body *')) {
		const text = [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data).join('').trim()
		if (!text || e.closest(':disabled, script, style, noscript') || !e.checkVisibility()) continue
		const style = getComputedStyle(e), back = behind(e), size = parseFloat(style.fontSize)
		const [a, b] = [light(over(rgba(style.color), back)), light(back)].sort((x, y) => y - x)
		const ratio = (a + 0.05) / (b + 0.05), needed = size >= 24 || size >= 18.66 && style.fontWeight >= 700 ? 3 : 4.5
		if (ratio < needed) found.push(text + ': ' + ratio.toFixed(2))
	}
	return found.join('\n')`

// TestThePageIsForEverybody looks at the demo's pages in both themes, on a phone
// and on a desktop: text stands out, nothing runs off the side, everything that
// can be operated has a name, and nothing came from elsewhere.
func TestThePageIsForEverybody(t *testing.T) {
	t.Parallel()
	base := demo(t, "-access-ttl", "5m", "-settle", "200ms")
	b := newBrowser(t)
	look := func(page string) {
		for _, theme := range []string{"light", "dark"} {
			call(b.tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"},
			}})
			for _, width := range []int64{390, 1280} {
				b.do(chromedp.EmulateViewport(width, 900))
				if got := js[string](b.tab, faint); got != "" {
					t.Errorf("%s, %s, %d pixels wide, is hard to read:\n%s", page, theme, width, got)
				}
				if wide := js[int64](b.tab, `return document.documentElement.scrollWidth`); wide > width {
					t.Errorf("%s, %s: %d pixels wide on a screen of %d", page, theme, wide, width)
				}
				if cut := js[int](b.tab, `return [...document.querySelectorAll('#family li')].filter(li => li.getBoundingClientRect().right > li.parentNode.getBoundingClientRect().right + 1).length`); cut > 0 {
					t.Errorf("%s, %d pixels wide: %d generations are cut off", page, width, cut)
				}
			}
			if got := js[string](b.tab, `return [...document.querySelectorAll('*')].filter(e => getComputedStyle(e).transitionDuration.split(', ').some(d => parseFloat(d) > 0.01) || document.getAnimations().length).map(e => e.tagName).join()`); got != "" {
				t.Errorf("%s moves although it was asked not to: %s", page, got)
			}
		}
		for _, n := range call(b.tab, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
			if n.Ignored || n.Role == nil {
				continue
			}
			switch role := strings.Trim(string(n.Role.Value), `"`); role {
			case "button", "link", "textbox", "checkbox", "progressbar", "list", "region", "heading":
				if name := n.Name; (name == nil || string(name.Value) == `""`) && role != "list" {
					t.Errorf("%s: a %s without a name", page, role)
				}
			}
		}
		if got := js[string](b.tab, `return performance.getEntriesByType('resource').map(r => r.name).filter(n => new URL(n).origin !== location.origin).join()`); got != "" {
			t.Errorf("%s loads from elsewhere: %s", page, got)
		}
		if got := js[string](b.tab, `return [...new Set([...document.querySelectorAll('[id]')].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i))].join() + (document.documentElement.lang ? '' : ' no language')`); got != "" {
			t.Errorf("%s: %s", page, got)
		}
	}
	b.visit(base + "/")
	look("the sign-in page")
	b.signIn(base, "alice", "wonderland")
	b.visit(base + "/")
	b.do(chromedp.WaitVisible("#family li"))
	look("the page")
	b.do(chromedp.Click("#thief"), chromedp.WaitVisible(".says.caught"))
	look("the page after a theft")
	if header := js[string](b.tab, `return document.querySelector('header').innerText`); strings.Contains(header, "alice") || strings.Contains(header, "Sign out") {
		t.Errorf("after a theft the header says %q", header)
	}
	b.visit(base + "/account")
	look("the account")
}

// TestTheKeyboardIsEnough signs in, renews, plays the thief and signs in again
// without a pointer; wherever the focus is, it can be seen.
func TestTheKeyboardIsEnough(t *testing.T) {
	t.Parallel()
	base := demo(t, "-access-ttl", "5m", "-settle", "200ms")
	b := newBrowser(t)
	// to presses Tab until the focus is where it is wanted.
	to := func(selector string) {
		t.Helper()
		for range 30 {
			b.do(chromedp.KeyEvent(kb.Tab))
			if !js[bool](b.tab, `const s = getComputedStyle(document.activeElement); return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2`) {
				t.Errorf("on the way to %s the focus cannot be seen", selector)
			}
			if js[bool](b.tab, `return document.activeElement.matches("`+selector+`")`) {
				return
			}
		}
		t.Fatalf("Tab does not lead to %s", selector)
	}
	b.visit(base + "/")
	to("input[name=username]")
	b.do(chromedp.KeyEvent("alice"))
	to("input[name=password]")
	b.do(chromedp.KeyEvent("wonderland"))
	to("input[type=checkbox]")
	b.do(chromedp.KeyEvent(" "))
	to("form button")
	b.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("#renew"))
	to("#renew")
	b.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("#family li:nth-child(2)"))
	to("#thief")
	b.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(".says.caught"))
	b.visit(base + "/")
	to("input[name=username]")
}
