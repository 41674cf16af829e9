-- Keeps a new family, and ends those that it supersedes and those beyond the
-- limit of its subject.
--
-- KEYS[1]  the subject's hash  KEYS[2]  its row
-- ARGV     1 family id  2 hot  3 cold  4 device  5 the further fields that it
--          has, each: name 1 | length 2 | value
--          6 attempt  7 limit, 0 for none  8 refuse at the limit  9 now
--          10 retention  11 milliseconds that the family has to live
--          12 ids of superseded families, joined
-- Returns  1 if kept, 0 if refused; the superseded ids that ended, joined; the
--          ids that gave way, joined
--
-- May run twice: ids are random, so a family that is there was put there by the
-- first run. It is left alone, whatever became of it since, and the ids are
-- those that its login ended.
local key, row, id, attempt = KEYS[1], KEYS[2], ARGV[1], ARGV[6]
local limit, now, retention = tonumber(ARGV[7]), tonumber(ARGV[9]), tonumber(ARGV[10])

if call('HEXISTS', key, id) == 1 then
  local ended = { superseded = {}, limit = {} }
  for _, f in ipairs(ended_by(key, row, attempt)) do
    local list = ended[f.reason]
    if list then list[#list + 1] = f.id end
  end
  return { 1, table.concat(ended.superseded), table.concat(ended.limit) }
end

local superseded, is_superseded, ordinary = {}, {}, 0
for i = 1, #ARGV[12], 16 do
  local old = sub(ARGV[12], i, i + 15)
  local rec = call('HMGET', key, old, old .. 'c')
  if not is_superseded[old] and alive(rec[1], rec[2], now) then
    superseded[#superseded + 1], is_superseded[old] = old, true
    if not (is_family(rec[1], rec[2]) and has(rec[2], ACTED)) then ordinary = ordinary + 1 end
  end
end

-- Of few families all are read when there may be too many, and when the hash has
-- doubled since the last time, which costs each login a constant; expired ones
-- go. A family has three fields at least. Of many the oldest are read, and a few
-- more for expired ones at each login, in turn.
local fields, many = call('HLEN', key), are_many(row)
local full = limit > 0 and fields >= 3 * limit
local p = tonumber(call('HGET', key, 'p') or '96')
local live, count
if many then
  local ids = call('ZRANGEBYSCORE', row, '(0', '+inf', 'LIMIT', p, 4)
  p = p + #live_among(key, row, ids, now)
  if #ids < 4 then p = 0 end
  call('HSET', key, 'p', p)
  if full then
    live = some(key, row, now, limit + 2 * STEP, false)
    count = call('ZCOUNT', row, '(0', ORDINARY)
  end
elseif full or fields >= MANY or fields >= p then
  live = survey(key, row, now, retention)
  count = 0
  for _, f in ipairs(live) do
    if not f.acted then count = count + 1 end
  end
  if fields >= p then call('HSET', key, 'p', tostring(math.max(96, 2 * call('HLEN', key)))) end
  many = call('HLEN', key) >= MANY
  if many then
    local lasts = 0
    for _, f in ipairs(live) do
      call('ZADD', row, place(f.created, f.acted), f.id)
      lasts = math.max(lasts, f.ends - now)
    end
    keep(row, lasts)
    call('HSET', key, 'p', 0)
  end
end

local gone = {}
if full and not has(ARGV[3], ACTED) then
  local over = count - ordinary + 1 - limit
  if over > 0 and ARGV[8] == '1' then return { 0, '', '' } end
  over = math.min(over, STEP - math.min(STEP, #ARGV[12] / 16))
  for _, f in ipairs(live) do
    if #gone >= over then break end
    if not f.acted and not is_superseded[f.id] then gone[#gone + 1] = f.id end
  end
end
bury_all(key, row, superseded, now, retention, attempt, 'superseded')
bury_all(key, row, gone, now, retention, attempt, 'limit')

call('HSET', key, id, ARGV[2], id .. 'c', ARGV[3], id .. 'd', ARGV[4])
local at = 1
while at < #ARGV[5] do
  local length = byte(ARGV[5], at + 1) * 256 + byte(ARGV[5], at + 2)
  call('HSET', key, id .. sub(ARGV[5], at, at), sub(ARGV[5], at + 3, at + 2 + length))
  at = at + 3 + length
end
keep(key, tonumber(ARGV[11]))
if many then
  call('ZADD', row, place(num6(ARGV[3], 2), has(ARGV[3], ACTED)), id)
  keep(row, num6(ARGV[3], 13) - now)
end
return { 1, table.concat(superseded), table.concat(gone) }
