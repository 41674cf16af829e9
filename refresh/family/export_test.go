package family

// Looked returns at how many entries the store has looked.
func (m *MemoryStore) Looked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.looked
}
