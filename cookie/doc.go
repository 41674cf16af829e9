// Package cookie keeps a browser's session tokens in cookies. It is the one
// place that knows their names, prefixes, attributes and lifetimes, how they
// are deleted, how much fits into one, and how opaque values are sealed.
//
// A Jar is made once by New and shared by all handlers:
//
//	jar, err := cookie.New(cookie.Config{Keys: keys})
//	err = jar.Set(w.Header(), cookie.Refresh, token, 30*24*time.Hour)
//	token, err := jar.Read(r, cookie.Refresh)
//
// The zero Config but for its Keys is the safe choice: __Host- names, Secure,
// HttpOnly, SameSite=Lax, Path=/. What browsers would refuse or silently drop
// is an error here: New refuses combinations of attributes that cannot work,
// and Set refuses what does not fit into a cookie. Proxies have limits too: the
// 4 KB that nginx has by default for all headers of a response hold a large
// access token and a refresh token only if proxy_buffer_size is raised.
//
// Values consist of letters, digits, '-', '_' and '.', so that frameworks that
// copy cookies pass them on unchanged, and are read also where one has quoted
// or percent-encoded them.
//
// Package cookie does not know what the values mean.
package cookie
