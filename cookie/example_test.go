package cookie_test

import (
	"fmt"
	"net/http/httptest"

	"github.com/sessionkit/sessionkit/cookie"
)

func Example() {
	secret := []byte("32 random bytes from crypto/rand")
	jar, err := cookie.New(cookie.Config{Keys: func() [][]byte { return [][]byte{secret} }})
	if err != nil {
		panic(err)
	}
	w := httptest.NewRecorder()
	if err := jar.Set(w.Header(), cookie.Refresh, "token", 0); err != nil {
		panic(err)
	}
	fmt.Println(w.Header().Get("Set-Cookie"))

	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(w.Result().Cookies()[0])
	token, err := jar.Read(r, cookie.Refresh)
	fmt.Println(token, err)
	// Output:
	// __Host-refresh=token; Path=/; Secure; HttpOnly; SameSite=Lax
	// token <nil>
}

func ExampleJar_Seal() {
	secret := []byte("32 random bytes from crypto/rand")
	jar, err := cookie.New(cookie.Config{Keys: func() [][]byte { return [][]byte{secret} }})
	if err != nil {
		panic(err)
	}
	value, err := jar.Seal(cookie.Device, []byte("device 7"))
	if err != nil {
		panic(err)
	}
	plain, stale, err := jar.Open(cookie.Device, value)
	fmt.Println(string(plain), stale, err)
	// Output: device 7 false <nil>
}
