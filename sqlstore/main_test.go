package sqlstore_test

import (
	"os"
	"testing"

	"github.com/sessionkit/sessionkit/internal/redistest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }
