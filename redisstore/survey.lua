-- The live families of a subject, read from its hash where they are few, from
-- its row where they are many.
local MANY = 800 -- fields of the hash: 200 families and more
local ORDINARY = string.format('(%.0f', UNTOLD)

-- Byte order, whatever the server's locale.
local function before(a, b)
  if a.created ~= b.created then return a.created < b.created end
  for i = 1, 16 do
    local x, y = byte(a.id, i), byte(b.id, i)
    if x ~= y then return x < y end
  end
  return false
end

local function are_many(row)
  return call('ZCOUNT', row, '(0', '+inf') > 0
end

local function expired(hot, cold, now, retention)
  if is_tombstone(hot) then return now >= num6(hot, 2) + retention end
  return is_family(hot, cold) and now >= expires_at(hot, cold)
end

-- Whether a record is a family to be ended: one that is alive, or one that this
-- build cannot read.
local function alive(hot, cold, now)
  return hot and not is_tombstone(hot) and not expired(hot, cold, now, 0)
end

local function drop(key, row, id)
  call('HDEL', key, id, id .. 'c', id .. 'd', id .. 'a', id .. 'k', id .. 's', id .. 'i', id .. 'x')
  call('ZREM', row, id)
end

-- What is known of a live family. One that cannot be read counts as the newest.
local function family_of(id, hot, cold)
  if is_family(hot, cold) then
    return { id = id, created = num6(cold, 2), ends = num6(cold, 13), acted = has(cold, ACTED) }
  end
  return { id = id, created = 2 ^ 47, ends = 0, acted = false }
end

-- The place of a live family in the row.
local function place(created, acted)
  return acted and created + UNTOLD or created
end

-- All live families of a subject that has few, oldest first. Drops what has
-- expired.
local function survey(key, row, now, retention)
  local all = call('HGETALL', key)
  local field, live = {}, {}
  for i = 1, #all, 2 do field[all[i]] = all[i + 1] end
  for name, value in pairs(field) do
    if #name == 16 then
      local cold = field[name .. 'c']
      if expired(value, cold, now, retention) then
        drop(key, row, name)
      elseif not is_tombstone(value) then
        live[#live + 1] = family_of(name, value, cold)
      end
    end
  end
  table.sort(live, before)
  return live
end

-- The live ones of some families. Drops the others.
local function live_among(key, row, ids, now)
  local live = {}
  for from = 1, #ids, 200 do
    local fields = {}
    for i = from, math.min(from + 199, #ids) do
      fields[#fields + 1] = ids[i]
      fields[#fields + 1] = ids[i] .. 'c'
    end
    local rec = call('HMGET', key, unpack(fields))
    for i = 1, #fields, 2 do
      if alive(rec[i], rec[i + 1], now) then
        live[#live + 1] = family_of(fields[i], rec[i], rec[i + 1])
      else
        drop(key, row, fields[i])
      end
    end
  end
  return live
end

-- Up to n live families of a subject that has many, from the oldest on, or from
-- the newest where nobody acts as the subject. It gives up after 2,000 that have expired, and says so.
local function some(key, row, now, n, newest)
  local live, looked = {}, 0
  while #live < n and looked < n + 2000 do
    local ids
    if newest then
      ids = call('ZREVRANGEBYSCORE', row, ORDINARY, '(0', 'LIMIT', #live, n - #live)
    else
      ids = call('ZRANGEBYSCORE', row, '(0', '+inf', 'LIMIT', #live, n - #live)
    end
    if #ids == 0 then break end
    local found = live_among(key, row, ids, now)
    for _, f in ipairs(found) do live[#live + 1] = f end
    looked = looked + #ids
  end
  return live, looked >= n + 2000
end

-- The tombstones of an attempt: what it ended, and for which reason.
local function ended_by(key, row, attempt, scores)
  local ids = call('ZRANGEBYSCORE', row, '-inf', scores or '(0')
  if #ids == 0 then return {} end
  local list, hot = {}, call('HMGET', key, unpack(ids))
  for i, id in ipairs(ids) do
    if is_tombstone(hot[i]) and sub(hot[i], 8, 13) == attempt then
      list[#list + 1] = { id = id, reason = sub(hot[i], 14) }
    end
  end
  return list
end
