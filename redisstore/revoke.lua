-- Ends families of a subject.
--
-- KEYS[1]  the subject's hash
-- ARGV     1 family id, '' for all  2 id to spare, or ''  3 how many of the
--          newest to spare  4 reason  5 attempt  6 now  7 retention
-- Returns  the ids that are dead now, joined, those with an older tombstone
--          included
--
-- May run twice: what is dead stays dead, and is returned again.
local key, only, spare = KEYS[1], ARGV[1], ARGV[2]
local reason, attempt = ARGV[4], ARGV[5]
local now, retention = tonumber(ARGV[6]), tonumber(ARGV[7])

if only ~= '' then
  local rec = redis.call('HMGET', key, only, only .. 'c')
  if is_tombstone(rec[1]) and now < num6(rec[1], 2) + retention then return only end
  if not rec[1] then must_be_primary(key) end
  if not is_family(rec[1], rec[2]) or now >= expires_at(rec[1], rec[2]) then return '' end
  bury(key, only, now, retention, attempt, reason)
  return only
end

local live, dead = survey(key, now, retention)
local ids, left = {}, {}
if #live + #dead == 0 then must_be_primary(key) end
for _, f in ipairs(dead) do ids[#ids + 1] = f.id end
for _, f in ipairs(live) do
  if f.id ~= spare then left[#left + 1] = f.id end
end
for i = 1, #left - tonumber(ARGV[3]) do
  bury(key, left[i], now, retention, attempt, reason)
  ids[#ids + 1] = left[i]
end
return table.concat(ids)
