-- contrast.lua STYLE: says of a style sheet where a text may not stand out from its ground, in light or in dark. Each colour
-- of a text is held against each ground, by the formula of WCAG 2: 4.5 at least; and so are lines around what can be used or
-- has the focus, of which 3 is asked. A colour that is none of the style's pairs is a fault. Exits with 1 then.
-- contrast.lua FIGURE.gp…: the same of what figures draw on white: 3 for each line but those of a grid, and 4.5 for the
-- colours that words take, too: the first two kinds of lines, and what was published.
local faults, pairs_of, held = 0, {}, 0

local function fault(...)
  print("    " .. table.concat({...}, " "))
  faults = faults + 1
end

local style

local function read_pairs()
  for name, light, dark in style:gmatch("%-%-(%a+): light%-dark%(#(%x+), #(%x+)%)") do
    pairs_of[name] = {light = light, dark = dark}
  end
end

-- uses: the colours of the style that stand behind a property
local function uses(property)
  local found = {}
  for before, value in style:gmatch("([^%a-])" .. property .. ":([^;}]*)") do
    local name = value:match("var%(%-%-(%a+)%)")
    if name then
      found[name] = true
    elseif not value:match("^ ?inherit") and not value:match("^ ?none") and not value:match("^ ?#ffffff") and before then
      fault(property .. ":" .. value, "is no pair of colours")
    end
  end
  return found
end

local function luminance(hex)
  local function part(at)
    local c = tonumber(hex:sub(at, at + 1), 16) / 255
    return c <= 0.04045 and c / 12.92 or ((c + 0.055) / 1.055) ^ 2.4
  end
  return 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
end

local function contrast(a, b)
  a, b = luminance(a), luminance(b)
  return (math.max(a, b) + 0.05) / (math.min(a, b) + 0.05)
end

local function hold(fronts, grounds, least)
  for front in pairs(fronts) do
    for ground in pairs(grounds) do
      for _, theme in ipairs {"light", "dark"} do
        local ratio = contrast(pairs_of[front][theme], pairs_of[ground][theme])
        held = held + 1
        if ratio < least then fault(("%s on %s, %s: %.2f, asked are %.1f"):format(front, ground, theme, ratio, least)) end
      end
    end
  end
end

-- the colours that a line of a script draws with: not those of boxes, which have dark lines around them, nor a grid's
local function drawn(line)
  local found = {}
  if line:match("^set grid") or line:match("^set palette") or line:match("^array grey") then return found end
  for hex in line:gsub("fillcolor rgb .#%x+", ""):gmatch("[#x](%x%x%x%x%x%x)%f[%X]") do
    if hex ~= "ffffff" then table.insert(found, hex) end
  end
  return found
end

local function hold_figure(path)
  for line in io.lines(path) do
    local words = line:match("^set linetype [12] ") or line:match("^published")
    for _, hex in ipairs(drawn(line)) do
      local ratio = contrast(hex, "ffffff")
      held = held + 1
      if ratio < (words and 4.5 or 3) then fault(("%s: #%s on white: %.2f"):format(path, hex, ratio)) end
    end
  end
end

if arg[1]:match("%.gp$") then
  for _, path in ipairs(arg) do hold_figure(path) end
else
  style = io.open(arg[1]):read("a")
  read_pairs()
  local grounds = uses("background")
  hold(uses("color"), grounds, 4.5)
  hold(uses("outline"), grounds, 3)
  hold({[style:match("button {.-border: 1px solid var%(%-%-(%a+)%)")] = true}, grounds, 3)
end
if held < 20 then fault("only", held, "pairs were found") end
os.exit(faults == 0)
