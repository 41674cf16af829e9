-- What the scripts share. A subject's families live in one hash, so that every
-- operation has one declared key, is atomic, and survives the migration of a
-- Cluster slot. Per family, with its raw 16-byte id as I:
--
--   I       version 1 | SHA-256 of the secret 32 | attempt 6 | prior 6 |
--           settled 1 + twice 2 + twice in a row 4 | rotated at 6 |
--           generation 4 | used at 6, not before rotated at   (62 bytes)
--   I       version 129 | revoked at 6 | attempt 6 | reason    (a tombstone)
--   I..'c'  version 1 | created at 6 | authenticated at 5 | absolute expiry 6 |
--           idle timeout 4 | flags 1 | fingerprint 36          (59 bytes)
--   I..'d'  what the session list shows of the device          (opaque here)
--
-- Few families have more, which a flag of I..'c' says:
--
--   I..'a'  the authentication context of the login            (opaque here)
--   I..'k'  kind of the device key 1 | its thumbprint 32 | proofs seen, newest
--           first, each: proof 6 | first bytes of its attempt 4
--   I..'s'  the step-up: attempt 6 | time 5 | authentication context
--   I..'i'  who acts as the subject, and why                   (opaque here)
--   I..'x'  the app's data, up to 256 bytes                    (opaque here)
--
--   'p'     where expired ones are looked for next: see start.lua
--
-- A sorted set beside it, KEYS[2], is the subject's row. Its members are ids:
--
--   score  - revoked at           a tombstone
--   score  - revoked at - 2^48    a tombstone that may not have been announced
--   score  created at             a live family, only where there are many
--   score  created at + 2^48      the same, where somebody acts as the subject
--
-- So the newest tombstones are found without reading all, and the oldest and
-- newest of many families. Of few, which is all that a person has, the hash is
-- read as a whole: a row of them would take half as much memory again.
--
-- Numbers are big endian: times in milliseconds since 1970, the authentication
-- time and the idle timeout in seconds. A newer build may append bytes to a
-- record; they survive. No value but I..'s', I..'i' and I..'x' exceeds 64 bytes, so that
-- Redis keeps the hash compact.
--
-- The time is the caller's: the protocol has no time window in which instances
-- whose clocks differ by seconds could disagree, and some servers forbid TIME.
local VERSION, TOMBSTONE = 1, 129
local HOT, HOT_SIZE = '>Bc32c6c6BI6I4I6', 62
local COLD, COLD_SIZE = '>BI6I5I6I4Bc36', 59
-- Flags of I..'c': the login is remembered, somebody acts as the subject, there
-- are further fields.
local REMEMBER, ACTED, MORE = 1, 2, 4
-- family.MaxStep: the families that one step ends, and the tombstones kept.
local STEP = 100
local UNTOLD = 281474976710656
local call, byte, sub, char, floor = redis.call, string.byte, string.sub, string.char, math.floor
