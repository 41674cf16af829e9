-- What the scripts share, over the layout of layout.lua.

-- Numbers of six and of four bytes at position i.
local function num6(s, i)
  local a, b, c, d, e, f = byte(s, i, i + 5)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

local function num4(s, i)
  local a, b, c, d = byte(s, i, i + 3)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function enc4(v)
  return char(floor(v / 16777216) % 256, floor(v / 65536) % 256, floor(v / 256) % 256, v % 256)
end

local function enc6(v)
  return char(floor(v / 1099511627776) % 256, floor(v / 4294967296) % 256) .. enc4(v % 4294967296)
end

local function is_family(hot, cold)
  return hot and cold and #hot >= HOT_SIZE and byte(hot, 1) == VERSION
    and #cold >= COLD_SIZE and byte(cold, 1) == VERSION
end

local function is_tombstone(hot)
  return hot and #hot >= 13 and byte(hot, 1) == TOMBSTONE
end

local function has(cold, flag)
  return floor(byte(cold, 23) / flag) % 2 == 1
end

-- The further fields of a family, each '' where there is none.
local function further(key, id, cold)
  if not has(cold, MORE) then return '', '', '', '', '' end
  local f = call('HMGET', key, id .. 'a', id .. 'k', id .. 's', id .. 'i', id .. 'x')
  return f[1] or '', f[2] or '', f[3] or '', f[4] or '', f[5] or ''
end

-- Writes a further field, and returns I..'c', which says that there is one.
local function set_further(key, id, cold, name, value)
  if not has(cold, MORE) then
    cold = sub(cold, 1, 22) .. char(byte(cold, 23) + MORE) .. sub(cold, 24)
    call('HSET', key, id .. 'c', cold)
  end
  call('HSET', key, id .. name, value)
  return cold
end

-- When the family ends unless it is rotated again.
local function expires_at(hot, cold)
  return math.min(num6(hot, 57) + num4(cold, 19) * 1000, num6(cold, 13))
end

-- Only a server that may write can say that a family does not exist, or that it
-- is still alive: a replica may lag behind, and a primary that lost its memory
-- and its replicas in a restart has nothing. Both refuse this, which changes
-- nothing, with READONLY or, given min-replicas-to-write, NOREPLICAS.
local function must_be_primary(key)
  call('HDEL', key, '')
end

-- Keeps the key for at least so many milliseconds; never shortens its life. A
-- sixteenth more spares most rotations a write, which replicas and the append-
-- only file would get too. Records say by themselves when they expire.
local function keep(key, ms)
  if call('PTTL', key) < ms then call('PEXPIRE', key, floor(ms * 17 / 16)) end
end

-- How many tombstones there are of revocations after a time.
local function tombstones(row, after)
  return call('ZCOUNT', row, '-inf', string.format('(%.0f', -after))
end

-- Makes tombstones of families, at most STEP; the oldest ones give way.
--
-- HDEL comes first: a server that is out of memory refuses a script whose first
-- write needs some, and a revocation must get through.
local function bury_all(key, row, ids, now, retention, attempt, reason)
  if #ids == 0 then return end
  local fields, records, places = {}, {}, {}
  local tombstone = char(TOMBSTONE) .. enc6(now) .. attempt .. reason
  for i, id in ipairs(ids) do
    for _, name in ipairs({ 'c', 'd', 'a', 'k', 's', 'i', 'x' }) do fields[#fields + 1] = id .. name end
    records[2 * i - 1], records[2 * i] = id, tombstone
    places[2 * i - 1], places[2 * i] = -UNTOLD - now, id
  end
  call('HDEL', key, unpack(fields))
  call('HSET', key, unpack(records))
  call('ZADD', row, unpack(places))
  local over = tombstones(row, 0) - STEP
  if over > 0 then
    local oldest = call('ZRANGEBYSCORE', row, '-inf', '(0', 'LIMIT', STEP, math.min(over, STEP))
    call('HDEL', key, unpack(oldest))
    call('ZREM', row, unpack(oldest))
  end
  keep(key, retention)
  keep(row, retention)
end

local function bury(key, id, now, retention, attempt, reason)
  bury_all(key, KEYS[2], { id }, now, retention, attempt, reason)
end
