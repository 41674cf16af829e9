// Package proxies has the tests of docs/proxies.md: the kit behind a real nginx
// and a real HAProxy, on free loopback ports. Without them the tests are skipped,
// or fail where SESSIONKIT_REQUIRE_SERVERS is set.
package proxies
