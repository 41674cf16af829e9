package family

import "errors"

// ErrUnavailable: a store could not answer in time. The effect of the
// operation is unknown; doing it again is harmless.
var ErrUnavailable = errors.New("family: store unavailable")
