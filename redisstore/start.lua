-- Keeps a new family, within the limit of its subject.
--
-- KEYS[1]  the subject's hash
-- ARGV     1 family id  2 hot  3 cold  4 device  5 authentication context or ''
--          6 attempt  7 limit, 0 for none  8 refuse at the limit  9 now
--          10 retention  11 milliseconds that the family has to live
-- Returns  1 if kept, 0 if refused; the ids that gave way, joined
--
-- May run twice: ids are random, so a family that is there was put there by the
-- first run. It is left alone, whatever became of it since, and the ids are
-- those that its login ended.
local key, id, attempt = KEYS[1], ARGV[1], ARGV[6]
local limit, now, retention = tonumber(ARGV[7]), tonumber(ARGV[9]), tonumber(ARGV[10])

if redis.call('HEXISTS', key, id) == 1 then
  local _, dead = survey(key, now, retention)
  local gone = {}
  for _, f in ipairs(dead) do
    if f.attempt == attempt and f.reason == 'limit' then gone[#gone + 1] = f.id end
  end
  return { 1, table.concat(gone) }
end

-- Expired records are looked for when the hash has doubled since the last
-- time, which costs each login a constant.
local live, fields = nil, redis.call('HLEN', key)
local due = fields >= 96 and fields >= tonumber(redis.call('HGET', key, 'p') or '96')
if limit > 0 or due then live = survey(key, now, retention) end
local gone = {}
if limit > 0 then
  local over = #live + 1 - limit
  if over > 0 and ARGV[8] == '1' then return { 0, '' } end
  for i = 1, over do
    bury(key, live[i].id, now, retention, attempt, 'limit')
    gone[i] = live[i].id
  end
end
if due then redis.call('HSET', key, 'p', tostring(math.max(96, 2 * redis.call('HLEN', key)))) end

redis.call('HSET', key, id, ARGV[2], id .. 'c', ARGV[3], id .. 'd', ARGV[4])
if ARGV[5] ~= '' then redis.call('HSET', key, id .. 'a', ARGV[5]) end
keep(key, tonumber(ARGV[11]))
return { 1, table.concat(gone) }
