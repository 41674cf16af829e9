package family

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// The binary form of a record. Numbers are big endian: times in milliseconds since
// 1970, those of authentication and Idle in seconds, 0 for a zero time. A text has its length in
// two bytes before it.
//
//	version 1 | subject 16 | id 16 | flags 1 | generation 4 | current 32 |
//	attempt 6 | prior 6 | twice in row 1 | created 6 | rotated 6 | used 6 |
//	authenticated 5 | idle 4 | absolute expiry 6 | fingerprint 36 |
//	key kind 1 | thumbprint 32, where there is a key | number of Seen 1, each 10 |
//	ACR | number of AMR 1, each | user agent | IP | actor | reason | data |
//	where there is a step-up: by 6 | time 5 | ACR | number of AMR 1, each
//
//	version 129 | subject 16 | id 16 | attempt 6 | revoked 6 | reason   (a tombstone)
//
// A later version may append to it. What it appends survives being read and
// written by a build that does not know it.
const (
	binaryRecord    = 1
	binaryTombstone = 129
)

const (
	binarySettled = 1 << iota
	binaryTwice
	binaryRemember
	binaryStepUp
	binaryFlags = 1<<iota - 1
)

var errBinary = errors.New("family: not the binary form of a record")

// MarshalBinary returns the record in the form in which a store may keep it. It
// fails for a time before 1970 or after the year 10000, a text of more than 65,535
// bytes, or a list of more than 255.
func (f *Record) MarshalBinary() ([]byte, error) {
	w := &binaryWriter{b: make([]byte, 0, 256)}
	if f.Revoked != "" {
		w.bytes([]byte{binaryTombstone}, f.Subject[:], f.ID[:], f.Attempt[:])
		w.millis(f.RevokedAt)
		w.texts(string(f.Revoked))
		return w.done("")
	}
	w.bytes([]byte{binaryRecord}, f.Subject[:], f.ID[:])
	steppedUp := f.StepUp.By != Attempt{}
	w.bytes([]byte{bit(f.Settled, binarySettled) | bit(f.Twice, binaryTwice) | bit(f.Remember, binaryRemember) | bit(steppedUp, binaryStepUp)})
	w.uint(uint64(f.Generation), 4)
	w.bytes(f.Current[:], f.Attempt[:], f.Prior[:], []byte{f.TwiceInRow})
	w.millis(f.CreatedAt)
	w.millis(f.RotatedAt)
	w.millis(f.UsedAt)
	w.seconds(f.AuthTime)
	w.uint(uint64(f.Idle/time.Second), 4)
	w.millis(f.AbsoluteExpiry)
	for i := range f.Fingerprint {
		w.bytes(f.Fingerprint[i][:])
	}
	w.key(f.Key)
	w.uint(uint64(len(f.Seen)), 1)
	for _, seen := range f.Seen {
		w.bytes(seen.Proof[:], seen.By[:])
	}
	w.texts(f.ACR)
	w.list(f.AMR)
	w.texts(f.Device.UserAgent, f.Device.IP, f.Actor, f.ActorReason, f.Data)
	if steppedUp {
		w.bytes(f.StepUp.By[:])
		w.seconds(f.StepUp.Time)
		w.texts(f.StepUp.ACR)
		w.list(f.StepUp.AMR)
	}
	return w.done(f.appended)
}

// UnmarshalBinary reads what MarshalBinary wrote, in this version or a later one.
// It fails, and leaves the record alone, for anything else.
func (f *Record) UnmarshalBinary(data []byte) error {
	r := &binaryReader{b: data}
	var g Record
	version := r.byte()
	r.into(g.Subject[:], g.ID[:])
	switch version {
	case binaryTombstone:
		r.into(g.Attempt[:])
		g.RevokedAt = r.millis()
		g.Revoked = Reason(r.text())
		if r.bad = r.bad || g.Revoked == "" || len(r.b) > 0; r.bad {
			return errBinary
		}
	case binaryRecord:
		if g.read(r); r.bad {
			return errBinary
		}
	default:
		return fmt.Errorf("%w: version %d", errBinary, version)
	}
	*f = g
	return nil
}

func (f *Record) read(r *binaryReader) {
	flags := r.byte()
	r.bad = r.bad || flags&^byte(binaryFlags) != 0
	f.Settled, f.Twice, f.Remember = flags&binarySettled != 0, flags&binaryTwice != 0, flags&binaryRemember != 0
	f.Generation = uint32(r.uint(4))
	r.into(f.Current[:], f.Attempt[:], f.Prior[:])
	f.TwiceInRow = r.byte()
	f.CreatedAt = r.millis()
	f.RotatedAt = r.millis()
	f.UsedAt = r.millis()
	f.AuthTime = r.seconds()
	f.Idle = time.Duration(r.uint(4)) * time.Second
	f.AbsoluteExpiry = r.millis()
	for i := range f.Fingerprint {
		r.into(f.Fingerprint[i][:])
	}
	f.Key = r.key()
	for range r.byte() {
		var seen SeenProof
		r.into(seen.Proof[:], seen.By[:])
		f.Seen = append(f.Seen, seen)
	}
	f.ACR, f.AMR = r.text(), r.list()
	f.Device.UserAgent, f.Device.IP = r.text(), r.text()
	f.Actor, f.ActorReason, f.Data = r.text(), r.text(), r.text()
	if flags&binaryStepUp != 0 {
		r.into(f.StepUp.By[:])
		f.StepUp.Time = r.seconds()
		f.StepUp.ACR, f.StepUp.AMR = r.text(), r.list()
		r.bad = r.bad || f.StepUp.By == Attempt{}
	}
	if len(r.b) > 0 {
		f.appended = string(r.b)
	}
}

func bit(set bool, b byte) byte {
	if set {
		return b
	}
	return 0
}

// A binaryWriter appends, and remembers what did not fit.
type binaryWriter struct {
	b   []byte
	bad bool
}

func (w *binaryWriter) bytes(parts ...[]byte) {
	for _, part := range parts {
		w.b = append(w.b, part...)
	}
}

// uint appends the n low bytes of v.
func (w *binaryWriter) uint(v uint64, n int) {
	w.bad = w.bad || v>>(8*n) != 0
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	w.bytes(b[8-n:])
}

func (w *binaryWriter) millis(t time.Time) { w.time(t, t.UnixMilli(), 6) }

func (w *binaryWriter) seconds(t time.Time) { w.time(t, t.Unix(), 5) }

func (w *binaryWriter) time(t time.Time, v int64, n int) {
	if t.IsZero() {
		v = 0
	}
	w.bad = w.bad || v < 0
	w.uint(uint64(v), n)
}

func (w *binaryWriter) texts(texts ...string) {
	for _, s := range texts {
		w.uint(uint64(len(s)), 2)
		w.b = append(w.b, s...)
	}
}

func (w *binaryWriter) list(texts []string) {
	w.uint(uint64(len(texts)), 1)
	w.texts(texts...)
}

func (w *binaryWriter) key(k Key) {
	w.bytes([]byte{byte(k.Kind)})
	if !k.IsZero() {
		w.bytes(k.Thumbprint[:])
	}
}

func (w *binaryWriter) done(appended string) ([]byte, error) {
	if w.bad {
		return nil, errors.New("family: a time or a length of the record does not fit its binary form")
	}
	return append(w.b, appended...), nil
}

// A binaryReader takes bytes from the front, and remembers that there were too few.
type binaryReader struct {
	b   []byte
	bad bool
}

// next returns n bytes, zeros where there are not so many.
func (r *binaryReader) next(n int) []byte {
	if r.bad = r.bad || len(r.b) < n; r.bad {
		return make([]byte, n)
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *binaryReader) into(fields ...[]byte) {
	for _, field := range fields {
		copy(field, r.next(len(field)))
	}
}

func (r *binaryReader) byte() byte { return r.next(1)[0] }

func (r *binaryReader) uint(n int) (v uint64) {
	for _, b := range r.next(n) {
		v = v<<8 | uint64(b)
	}
	return v
}

func (r *binaryReader) millis() time.Time {
	if v := r.uint(6); v != 0 {
		return time.UnixMilli(int64(v)).UTC()
	}
	return time.Time{}
}

func (r *binaryReader) seconds() time.Time {
	if v := r.uint(5); v != 0 {
		return time.Unix(int64(v), 0).UTC()
	}
	return time.Time{}
}

func (r *binaryReader) text() string { return string(r.next(int(r.uint(2)))) }

func (r *binaryReader) list() (list []string) {
	for range r.byte() {
		list = append(list, r.text())
	}
	return list
}

func (r *binaryReader) key() (k Key) {
	k.Kind = KeyKind(r.byte())
	if !k.IsZero() {
		r.into(k.Thumbprint[:])
	}
	return k
}
