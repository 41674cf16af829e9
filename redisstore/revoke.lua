-- Ends families of a subject: one, or up to STEP of all.
--
-- KEYS[1]  the subject's hash  KEYS[2]  its row
-- ARGV     1 family id, '' for all  2 id to spare, or ''  3 how many of the
--          newest to spare  4 reason  5 attempt  6 now  7 retention  8 whether a
--          family that is not there leaves a tombstone  9 the generation that
--          asks, or ''  10 whether this is the first step
-- Returns  0 if the one family is not known, 1 if it is dead, 2 if the
--          generation was left behind; the ids that this attempt ended, joined;
--          the ids to announce, joined; 1 if there may be more to end
--
-- May run twice: what is dead stays dead; what this attempt ended is returned
-- again, and what may not have been announced is written again, so that whoever
-- announces it can wait for the replicas.
local UNKNOWN, DEAD, LEFT_BEHIND = 0, 1, 2
local key, row, only = KEYS[1], KEYS[2], ARGV[1]
local reason, attempt = ARGV[4], ARGV[5]
local now, retention = tonumber(ARGV[6]), tonumber(ARGV[7])

local function write_again(id, hot)
  must_be_primary(key) -- frees memory where there is none
  call('HSET', key, id, hot)
  call('ZADD', row, -UNTOLD - num6(hot, 2), id)
  keep(row, retention)
end

if only ~= '' then
  local rec = call('HMGET', key, only, only .. 'c')
  local hot, cold = rec[1], rec[2]
  if is_tombstone(hot) and not expired(hot, nil, now, retention) then
    local ended, tell, score = '', '', call('ZSCORE', row, only)
    if sub(hot, 8, 13) == attempt then ended = only end
    if not score or tonumber(score) <= -UNTOLD then
      write_again(only, hot)
      tell = only
    end
    return { DEAD, ended, tell, 0 }
  end
  if alive(hot, cold, now) then
    if ARGV[9] ~= '' and is_family(hot, cold) and tonumber(ARGV[9]) + 1 < num4(hot, 53) then
      must_be_primary(key)
      return { LEFT_BEHIND, '', '', 0 }
    end
  elseif ARGV[8] ~= '1' or tombstones(row, now - retention) >= STEP then
    must_be_primary(key)
    return { UNKNOWN, '', '', 0 }
  end
  bury_all(key, row, { only }, now, retention, attempt, reason)
  return { DEAD, only, only, 0 }
end

-- What may not have been announced, and what an earlier step has ended: later
-- steps need not look at it again.
must_be_primary(key)
local untold = string.format('%.0f', -UNTOLD)
local ended, tell = {}, call('ZRANGEBYSCORE', row, '-inf', untold)
if #tell > 0 then
  local hot = call('HMGET', key, unpack(tell))
  for i, id in ipairs(tell) do
    if is_tombstone(hot[i]) then write_again(id, hot[i]) end
  end
end
local scores = untold
if ARGV[10] == '1' then scores = '(0' end
for _, f in ipairs(ended_by(key, row, attempt, scores)) do ended[#ended + 1] = f.id end

local keep_newest, spared = tonumber(ARGV[3]), { [ARGV[2]] = true }
local oldest, newest, gave_up
if are_many(row) then
  newest = keep_newest > 0 and some(key, row, now, keep_newest + 1, true) or {}
  oldest, gave_up = some(key, row, now, STEP + 1, false)
else
  oldest, newest = survey(key, row, now, retention), {}
  for i = #oldest, 1, -1 do newest[#newest + 1] = oldest[i] end
end
for _, f in ipairs(newest) do
  if keep_newest == 0 then break end
  if not spared[f.id] and not f.acted then
    spared[f.id], keep_newest = true, keep_newest - 1
  end
end
local step, some_stay = {}, tonumber(ARGV[3]) > 0
for _, f in ipairs(oldest) do
  if not spared[f.id] and not (some_stay and f.acted) and #step < STEP then step[#step + 1] = f.id end
end
bury_all(key, row, step, now, retention, attempt, reason)
for _, id in ipairs(step) do
  ended[#ended + 1] = id
  tell[#tell + 1] = id
end
return { DEAD, table.concat(ended), table.concat(tell), (#step == STEP or gave_up) and 1 or 0 }
