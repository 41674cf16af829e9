package cookie_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/sessionkit/sessionkit/cookie"
)

// exampleJar stands for the one that a program makes at its start.
func exampleJar() *cookie.Jar {
	secret := []byte("32 random bytes from crypto/rand")
	jar, err := cookie.New(cookie.Config{Keys: func() [][]byte { return [][]byte{secret} }})
	if err != nil {
		panic(err)
	}
	return jar
}

func Example() {
	jar := exampleJar()
	w := httptest.NewRecorder()
	if err := jar.Set(w.Header(), cookie.Refresh, "token", 24*time.Hour); err != nil {
		panic(err)
	}
	fmt.Println(w.Header().Get("Set-Cookie"))

	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(w.Result().Cookies()[0])
	token, err := jar.Read(r, cookie.Refresh)
	fmt.Println(token, err)
	// Output:
	// __Host-refresh=token; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=86400
	// token <nil>
}

// Two apps on one host, in development without TLS.
func ExampleNew() {
	secret := []byte("32 random bytes from crypto/rand")
	jar, err := cookie.New(cookie.Config{
		BaseName:     "shop",
		InsecureHTTP: true,
		Keys:         func() [][]byte { return [][]byte{secret} },
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(jar.Name(cookie.Access))

	_, err = cookie.New(cookie.Config{})
	fmt.Println(err)
	// Output:
	// shop-access
	// cookie: Config.Keys is empty: supply at least one secret of 32 random bytes
}

func ExampleJar_Delete() {
	jar := exampleJar()
	w := httptest.NewRecorder()
	jar.Delete(w.Header(), cookie.Refresh)
	fmt.Println(w.Header().Get("Set-Cookie"))
	// Output:
	// __Host-refresh=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT
}

// What cannot be sent whole is not sent at all.
func ExampleJar_Unset() {
	jar := exampleJar()
	w := httptest.NewRecorder()
	jar.Set(w.Header(), cookie.Refresh, "token", time.Hour)
	if err := jar.Set(w.Header(), cookie.Access, "", time.Hour); err != nil {
		jar.Unset(w.Header(), cookie.Refresh)
		fmt.Println(err)
	}
	fmt.Println(len(w.Result().Cookies()))
	// Output:
	// cookie: the value is empty, or not of A-Z a-z 0-9 - _ and the dot
	// 0
}

// A logout ends each session that the request may prove.
func ExampleJar_ReadAll() {
	jar := exampleJar()
	r := httptest.NewRequest("POST", "/auth/logout", nil)
	r.Header = http.Header{"Cookie": {"__Host-refresh=planted; __Host-refresh=own"}}
	_, err := jar.Read(r, cookie.Refresh)
	fmt.Println(err)
	fmt.Println(jar.ReadAll(r, cookie.Refresh))
	// Output:
	// cookie: sent twice with different values
	// [planted own]
}

func ExampleJar_Seal() {
	jar := exampleJar()
	value, err := jar.Seal(cookie.Device, []byte("device 7"))
	if err != nil {
		panic(err)
	}
	plain, renew, err := jar.Open(cookie.Device, value)
	fmt.Println(string(plain), renew, err)
	// Output: device 7 false <nil>
}

// A device cookie is set again as soon as Open asks for it.
func ExampleJar_Open() {
	jar := exampleJar()
	w := httptest.NewRecorder()
	value, err := jar.Seal(cookie.Device, []byte("device 7"))
	if err != nil {
		panic(err)
	}
	plain, renew, err := jar.Open(cookie.Device, value)
	if err != nil {
		plain, renew = []byte("device 8"), true // unknown: a new device
	}
	if renew {
		if value, err = jar.Seal(cookie.Device, plain); err == nil {
			err = jar.Set(w.Header(), cookie.Device, value, 400*24*time.Hour)
		}
	}
	fmt.Println(string(plain), len(w.Result().Cookies()), err)
	// Output: device 7 0 <nil>
}
