package refresh

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxUserAgent bounds what is looked at of a User-Agent header.
	maxUserAgent = 512
	// maxDeviceLabel keeps a Redis hash field with its address at 64 bytes.
	maxDeviceLabel = 47
)

// browsers in the order in which their tokens decide: most of them also name
// the browsers that they derive from.
var browsers = [...]struct{ token, name string }{
	{"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"},
	{"YaBrowser/", "Yandex"}, {"Vivaldi/", "Vivaldi"}, {"FxiOS/", "Firefox"},
	{"Firefox/", "Firefox"}, {"CriOS/", "Chrome"}, {"HeadlessChrome/", "Chrome"}, {"Chromium/", "Chrome"},
	{"Chrome/", "Chrome"}, {"Safari/", "Safari"},
}

var platforms = [...]struct{ token, name string }{
	{"Windows", "Windows"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"},
	{"CrOS", "ChromeOS"}, {"Macintosh", "macOS"}, {"Mac OS X", "macOS"}, {"Linux", "Linux"}, {"X11", "Unix"},
}

// parseUserAgent reduces a User-Agent header to product and platform. For
// what is not a browser the product is its first word up to the version.
func parseUserAgent(ua string) (product, platform string) {
	ua = clip(ua, maxUserAgent)
	for _, p := range platforms {
		if strings.Contains(ua, p.token) {
			platform = p.name
			break
		}
	}
	if strings.HasPrefix(ua, "Mozilla/") {
		for _, b := range browsers {
			if strings.Contains(ua, b.token) {
				return b.name, platform
			}
		}
	}
	product, _, _ = strings.Cut(ua, "/")
	product, _, _ = strings.Cut(product, " ")
	return clip(product, maxDeviceLabel), platform
}

// deviceLabel is the user agent as the session list shows it: the browser and
// its platform, or what another program calls itself.
func deviceLabel(ua string) string {
	if !strings.HasPrefix(ua, "Mozilla/") {
		return clip(printable(clip(ua, maxUserAgent)), maxDeviceLabel)
	}
	product, platform := parseUserAgent(ua)
	if platform == "" {
		return clip(printable(product), maxDeviceLabel)
	}
	return clip(printable(product+" on "+platform), maxDeviceLabel)
}

// printable drops what could disturb a log or a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

// clip cuts s to at most n bytes, at the border of a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
