package redisstore

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// The layout of records is described in common.lua, which shares it.
const (
	version   = 1
	tombstone = 129

	hotSize       = 62
	coldSize      = 59
	tombstoneSize = 13

	flagRemember = 1
	flagActed    = 2
	flagMore     = 4

	flagSettled = 1
	flagTwice   = 2
	inRowUnit   = 4
)

// errRecord: a record that this build cannot read. It is left as it is.
var errRecord = errors.New("redisstore: unreadable record")

func encodeHot(f *family.Record) []byte {
	b := make([]byte, 0, hotSize)
	b = append(b, version)
	b = append(b, f.Current[:]...)
	b = append(b, f.Attempt[:]...)
	b = append(b, f.Prior[:]...)
	b = append(b, flag(f.Settled, flagSettled)|flag(f.Twice, flagTwice)|min(f.TwiceInRow, family.SharedAfter)*inRowUnit)
	b = appendUint(b, uint64(f.RotatedAt.UnixMilli()), 6)
	b = binary.BigEndian.AppendUint32(b, f.Generation)
	return appendUint(b, uint64(f.LastUsed().UnixMilli()), 6)
}

func encodeCold(f *family.Record) []byte {
	b := make([]byte, 0, coldSize)
	b = append(b, version)
	b = appendUint(b, uint64(f.CreatedAt.UnixMilli()), 6)
	b = appendUint(b, uint64(f.AuthTime.Unix()), 5)
	b = appendUint(b, uint64(f.AbsoluteExpiry.UnixMilli()), 6)
	b = appendUint(b, uint64(f.Idle/time.Second), 4)
	b = append(b, flag(f.Remember, flagRemember)|flag(f.Actor != "", flagActed)|flag(furtherOf(f) != further{}, flagMore))
	return appendFingerprint(b, f.Fingerprint)
}

// further are the fields that few families have.
type further struct{ auth, key, stepUp, actor, data string }

func furtherOf(f *family.Record) further {
	x := further{auth: encodeAuth(f.ACR, f.AMR), stepUp: encodeStepUp(&f.StepUp), data: f.Data}
	if !f.Key.IsZero() {
		x.key = string(append(encodeKey(f.Key), encodeSeen(f.Seen)...))
	}
	if f.Actor != "" {
		x.actor = f.Actor + "\x00" + f.ActorReason
	}
	return x
}

// encode returns what start.lua describes.
func (x further) encode() (b []byte) {
	for _, field := range [...]struct{ name, value string }{{"a", x.auth}, {"k", x.key}, {"s", x.stepUp}, {"i", x.actor}, {"x", x.data}} {
		if field.value != "" {
			b = append(b, field.name...)
			b = binary.BigEndian.AppendUint16(b, uint16(len(field.value)))
			b = append(b, field.value...)
		}
	}
	return b
}

// decode puts the fields into the record.
func (x further) decode(f *family.Record) error {
	f.ACR, f.AMR = decodeAuth(x.auth)
	f.Actor, f.ActorReason, _ = strings.Cut(x.actor, "\x00")
	f.Data = x.data
	if x.key != "" {
		const head, each = 33, 10
		if len(x.key) < head || (len(x.key)-head)%each != 0 {
			return errRecord
		}
		f.Key.Kind = family.KeyKind(x.key[0])
		copy(f.Key.Thumbprint[:], x.key[1:])
		for rest := x.key[head:]; rest != ""; rest = rest[each:] {
			var seen family.SeenProof
			copy(seen.Proof[:], rest)
			copy(seen.By[:], rest[6:])
			f.Seen = append(f.Seen, seen)
		}
	}
	if x.stepUp != "" {
		const head = 11
		if len(x.stepUp) < head {
			return errRecord
		}
		copy(f.StepUp.By[:], x.stepUp)
		f.StepUp.Time = time.Unix(int64(uintAt(x.stepUp, 6, 5)), 0)
		f.StepUp.ACR, f.StepUp.AMR = decodeAuth(x.stepUp[head:])
	}
	return nil
}

func encodeKey(k family.Key) []byte {
	return append([]byte{byte(k.Kind)}, k.Thumbprint[:]...)
}

func encodeSeen(seen []family.SeenProof) (b []byte) {
	for _, s := range seen {
		b = append(append(b, s.Proof[:]...), s.By[:]...)
	}
	return b
}

func encodeStepUp(s *family.StepUp) string {
	if s.By == (family.Attempt{}) {
		return ""
	}
	return string(appendUint(s.By[:], uint64(s.Time.Unix()), 5)) + encodeAuth(s.ACR, s.AMR)
}

// encodeRequest returns what rotate.lua describes: what every rotation needs,
// and what only the others do.
func encodeRequest(p family.RotateRequest) (first, second []byte) {
	const size = 32 + 4 + 32 + 6 + 36 + 6*6
	b := make([]byte, 0, size+1+4+6*6)
	b = append(b, p.Hash[:]...)
	b = binary.BigEndian.AppendUint32(b, p.Generation)
	b = append(b, p.Successor[:]...)
	b = append(b, p.Attempt[:]...)
	b = appendFingerprint(b, p.Fingerprint)
	b = appendUint(b, uint64(p.Now.UnixMilli()), 6)
	b = appendMillis(b, p.Policy.FreshTime())
	b = appendLimits(b, p.Policy.Idle, p.Policy.Absolute, p.Policy.Browser, p.Policy.KeyWithin)

	b = append(b, byte(p.Policy.Enforced))
	for _, rule := range [...]bool{p.Policy.RevokeOnMismatch, p.Policy.RefuseStoreBehind, p.Policy.SingleUse, p.Policy.EndShared} {
		b = append(b, '0'+flag(rule, 1))
	}
	b = appendMillis(b, p.Policy.Settle)
	b = appendMillis(b, p.Policy.ParallelTime())
	next, later := p.OvertakenAfter()
	b = appendUint(b, uint64(next.UnixMilli()), 6)
	b = appendUint(b, uint64(later.UnixMilli()), 6)
	b = appendMillis(b, family.TombstoneRetention)
	b = appendMillis(b, family.ClockSkew)
	return b[:size], b[size:]
}

// appendLimits appends times that are none where they are 0.
func appendLimits(b []byte, limits ...time.Duration) []byte {
	for _, limit := range limits {
		if limit <= 0 {
			limit = noLimit
		}
		b = appendMillis(b, limit)
	}
	return b
}

// encodeProof returns the fifth argument of rotate.lua.
func encodeProof(p *family.RotateRequest) []byte {
	if p.Key.IsZero() {
		return nil
	}
	return append(encodeKey(p.Key), p.Proof[:]...)
}

// noLimit is longer than any session lives: a century.
const noLimit = 100 * 365 * 24 * time.Hour

// appendMillis rounds up, so that no time is shorter than it was.
func appendMillis(b []byte, d time.Duration) []byte {
	return appendUint(b, uint64((max(0, d)+time.Millisecond-1)/time.Millisecond), 6)
}

func appendFingerprint(b []byte, f family.Fingerprint) []byte {
	for i := range f {
		b = append(b, f[i][:]...)
	}
	return b
}

// encodeDevice: length of the address 1 | address 0, 4 or 16 | user agent.
func encodeDevice(d family.Device) []byte {
	var ip []byte
	if addr, err := netip.ParseAddr(d.IP); err == nil {
		ip = addr.AsSlice()
	}
	b := make([]byte, 0, 1+len(ip)+len(d.UserAgent))
	b = append(b, byte(len(ip)))
	b = append(b, ip...)
	return append(b, d.UserAgent...)
}

// encodeAuth: ACR and AMR, separated by NUL; empty if there are none.
func encodeAuth(acr string, amr []string) string {
	if acr == "" && len(amr) == 0 {
		return ""
	}
	return strings.Join(append([]string{acr}, amr...), "\x00")
}

func decodeAuth(s string) (acr string, amr []string) {
	if s == "" {
		return "", nil
	}
	parts := strings.Split(s, "\x00")
	if len(parts) > 1 {
		amr = parts[1:]
	}
	return parts[0], amr
}

// decode reads a family from its fields; absent ones are empty.
func decode(subject family.Subject, id family.ID, hot, cold, device string, x further) (family.Record, error) {
	f := family.Record{Subject: subject, ID: id}
	if len(hot) >= tombstoneSize && hot[0] == tombstone {
		f.RevokedAt = time.UnixMilli(int64(uintAt(hot, 1, 6)))
		copy(f.Attempt[:], hot[7:])
		f.Revoked = family.Reason(hot[tombstoneSize:])
		return f, nil
	}
	if len(hot) < hotSize || hot[0] != version {
		return family.Record{}, errRecord
	}
	copy(f.Current[:], hot[1:])
	copy(f.Attempt[:], hot[33:])
	copy(f.Prior[:], hot[39:])
	f.Settled = hot[45]&flagSettled != 0
	f.Twice = hot[45]&flagTwice != 0
	f.TwiceInRow = hot[45] / inRowUnit
	f.RotatedAt = time.UnixMilli(int64(uintAt(hot, 46, 6)))
	f.Generation = uint32(uintAt(hot, 52, 4))
	f.UsedAt = time.UnixMilli(int64(uintAt(hot, 56, 6)))
	f.Device = decodeDevice(device)
	if err := decodeLogin(&f, cold); err != nil {
		return family.Record{}, err
	}
	return f, x.decode(&f)
}

// decodeLogin reads what stays as it was at the login.
func decodeLogin(f *family.Record, cold string) error {
	if len(cold) < coldSize || cold[0] != version {
		return errRecord
	}
	f.CreatedAt = time.UnixMilli(int64(uintAt(cold, 1, 6)))
	f.AuthTime = time.Unix(int64(uintAt(cold, 7, 5)), 0)
	f.AbsoluteExpiry = time.UnixMilli(int64(uintAt(cold, 12, 6)))
	f.Idle = time.Duration(uintAt(cold, 18, 4)) * time.Second
	f.Remember = cold[22]&flagRemember != 0
	for i := range f.Fingerprint {
		copy(f.Fingerprint[i][:], cold[23+12*i:])
	}
	return nil
}

func decodeDevice(b string) (d family.Device) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return d
	}
	n := 1 + int(b[0])
	if addr, ok := netip.AddrFromSlice([]byte(b[1:n])); ok {
		d.IP = addr.String()
	}
	d.UserAgent = b[n:]
	return d
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

// appendUint appends the n low bytes of v, big endian.
func appendUint(b []byte, v uint64, n int) []byte {
	for n--; n >= 0; n-- {
		b = append(b, byte(v>>(8*n)))
	}
	return b
}

func uintAt(b string, from, n int) (v uint64) {
	for i := range n {
		v = v<<8 | uint64(b[from+i])
	}
	return v
}

// join is the opposite of idsOf.
func join(ids []family.ID) []byte {
	joined := make([]byte, 0, 16*len(ids))
	for _, id := range ids {
		joined = append(joined, id[:]...)
	}
	return joined
}

// idsOf splits joined family ids.
func idsOf(reply any) ([]family.ID, error) {
	joined, ok := reply.(string)
	if !ok || len(joined)%16 != 0 {
		return nil, unavailable(errReply)
	}
	var ids []family.ID
	for ; joined != ""; joined = joined[16:] {
		ids = append(ids, family.ID([]byte(joined[:16])))
	}
	return ids, nil
}

// keys are the subject's hash and its row, which common.lua describes. The braces
// make them one slot of a Cluster.
func (s *Store) keys(subject family.Subject) []string {
	hash := s.prefix + ":{" + subject.String() + "}"
	return []string{hash, hash + ":i"}
}
