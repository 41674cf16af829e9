package access

// The only door of the tests to what is not exported.

const (
	MaxToken   = maxToken
	MaxDepth   = maxDepth
	MaxMembers = maxMembers
	EntryBytes = entryBytes
	BoundBytes = boundBytes
)

// ScanObject is scanObject.
func ScanObject(text string, visit func(name, raw string) error) error {
	return scanObject(text, visit)
}

// ParseKeys reads the text of a keys file, and Encode writes it.
func ParseKeys(text []byte) (Keys, error) { return parseKeys(text) }

func (k Keys) Encode() ([]byte, error) { return k.encode() }

// Cached returns how many tokens the cache counts, how many bytes, and how
// many there are.
func (t *Tokens) Cached() (entries, bytes int64, there int) {
	if t.cache == nil {
		return 0, 0, 0
	}
	for i := range t.cache.shard {
		s := &t.cache.shard[i]
		s.mu.RLock()
		there += len(s.tokens)
		s.mu.RUnlock()
	}
	return t.cache.entries.Load(), t.cache.bytes.Load(), there
}
