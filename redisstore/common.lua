-- What the scripts share. A subject's families live in one hash, so that every
-- operation has one declared key, is atomic, and survives the migration of a
-- Cluster slot. Per family, with its raw 16-byte id as I:
--
--   I       version 1 | SHA-256 of the secret 32 | attempt 6 | prior 6 |
--           settled 1 | rotated at 6 | generation 4            (56 bytes)
--   I       version 129 | revoked at 6 | attempt 6 | reason    (a tombstone)
--   I..'c'  version 1 | created at 6 | authenticated at 5 | absolute expiry 6 |
--           idle timeout 4 | flags 1 | fingerprint 36          (59 bytes)
--   I..'d'  what the session list shows of the device          (opaque here)
--   I..'a'  the authentication context, if any                 (opaque here)
--   'p'     the number of fields at which expired ones are looked for
--
-- Numbers are big endian: times in milliseconds since 1970, the authentication
-- time and the idle timeout in seconds. A newer build may append bytes to a
-- record; they survive. No value exceeds 64 bytes, so that Redis keeps the
-- hash compact.
--
-- The time is the caller's: the protocol has no time window in which instances
-- whose clocks differ by seconds could disagree, and some servers forbid TIME.
local VERSION, TOMBSTONE = 1, 129
local ZERO = string.rep('\0', 12)

local function num(s, i, n)
  local v = 0
  for k = i, i + n - 1 do v = v * 256 + string.byte(s, k) end
  return v
end

local function enc(v, n)
  local t = {}
  for k = n, 1, -1 do
    t[k] = string.char(v % 256)
    v = math.floor(v / 256)
  end
  return table.concat(t)
end

local function is_family(hot, cold)
  return hot and cold and #hot >= 56 and string.byte(hot, 1) == VERSION
    and #cold >= 59 and string.byte(cold, 1) == VERSION
end

local function is_tombstone(hot)
  return hot and #hot >= 13 and string.byte(hot, 1) == TOMBSTONE
end

-- When the family ends unless it is rotated again.
local function expires_at(hot, cold)
  return math.min(num(hot, 47, 6) + num(cold, 19, 4) * 1000, num(cold, 13, 6))
end

-- Only a server that may write can say that a family does not exist: a replica
-- may not have it yet, and a primary that lost its memory and its replicas in a
-- restart has nothing. Both refuse this, which changes nothing, with READONLY
-- or, given min-replicas-to-write, NOREPLICAS.
local function absent(key, id)
  redis.call('HDEL', key, id)
end

-- Keeps the key for at least so many milliseconds; never shortens its life.
local function keep(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, ms) end
end

-- HDEL comes first: a server that is out of memory refuses a script whose first
-- write needs some, and a revocation must get through.
local function bury(key, id, now, retention, attempt, reason)
  redis.call('HDEL', key, id .. 'c', id .. 'd', id .. 'a')
  redis.call('HSET', key, id, string.char(TOMBSTONE) .. enc(now, 6) .. attempt .. reason)
  keep(key, retention)
end

-- Byte order, whatever the server's locale.
local function before(a, b)
  if a.created ~= b.created then return a.created < b.created end
  for i = 1, 16 do
    local x, y = string.byte(a.id, i), string.byte(b.id, i)
    if x ~= y then return x < y end
  end
  return false
end

-- Reads all records of the subject: the live families, oldest first, and the
-- tombstones; drops what has expired.
local function survey(key, now, retention)
  local all = redis.call('HGETALL', key)
  local field, live, dead = {}, {}, {}
  for i = 1, #all, 2 do field[all[i]] = all[i + 1] end
  for name, value in pairs(field) do
    if #name == 16 then
      local cold = field[name .. 'c']
      if is_tombstone(value) and now < num(value, 2, 6) + retention then
        dead[#dead + 1] = { id = name, attempt = string.sub(value, 8, 13), reason = string.sub(value, 14) }
      elseif is_family(value, cold) and now < expires_at(value, cold) then
        live[#live + 1] = { id = name, created = num(cold, 2, 6) }
      elseif is_tombstone(value) or is_family(value, cold) then
        redis.call('HDEL', key, name, name .. 'c', name .. 'd', name .. 'a')
      end
    end
  end
  table.sort(live, before)
  return live, dead
end
