-- Tangled from chapters/68-site.md; edit there.
-- Find a value's line
-- lines_of: for each key of a file of values its line
local function lines_of(path)
  local lines, number = {}, 0
  for line in io.lines(path) do
    number = number + 1
    local key = line:match('^%s*"([^"]+)":')
    if key then lines[key] = number end
  end
  return lines
end

-- Lead a link of the report
local function plain(id) return (id:gsub("[^%w-]", "-")) end

local function link_of(lines)
  return function(link)
    local key = link.target:match("^#value:(.*)$")
    if not key then
      local id = link.target:match("^#(.*)$")
      if id then link.target = "#" .. plain(id) end
      return link
    end
    local text = pandoc.utils.stringify(link.content)
    if not lines[key] or not text:find("%d") then return link.content end
    return pandoc.Link(link.content, "values.json#L" .. lines[key])
  end
end

-- Write formulas as a repository shows them
local function inline_math(math)
  return pandoc.RawInline("html", "$`" .. math.text .. "`$")
end

-- part_of: a paragraph cut at the formulas that stand on lines of their own
local function parts_of(para)
  local out, rest = pandoc.List(), pandoc.List()
  local function flush()
    if #rest > 0 then out:insert(pandoc.Para(rest)) end
    rest = pandoc.List()
  end
  for _, one in ipairs(para.content) do
    local display = one.t == "Math" and one.mathtype == "DisplayMath"
    if display then
      flush()
      out:insert(pandoc.CodeBlock(one.text:match("^%s*(.-)%s*$"), {class = "math"}))
    else
      rest:insert(one.t == "Math" and inline_math(one) or one)
    end
  end
  flush()
  return out
end

-- Set floats in Markdown
local function anchor(id)
  return pandoc.RawInline("html", '<a id="' .. plain(id) .. '"></a>')
end

local function source_of(div, folder, root)
  local out, inlines = pandoc.List {pandoc.Str "From "}, div.content[1].content
  for path in inlines[#inlines].text:gmatch("[^ ,]+") do
    local own = path:sub(1, #folder + 1) == folder .. "/" and path:sub(#folder + 2)
    if #out > 1 then out:insert(pandoc.Str ", ") end
    out:insert(pandoc.Link(pandoc.Code(own or path), own or root .. path))
  end
  return pandoc.Para(out .. {pandoc.Str "."})
end

-- picture_of: a picture that lies beside the report
local function picture_of(image)
  image.src = image.src:gsub("^%./", "")
  return image
end

-- Take a float apart
local function float_of(div, folder, root)
  local out = pandoc.List()
  for _, block in ipairs(div.content) do
    if block.t == "Table" then
      local simple = pandoc.utils.to_simple_table(block)
      out:insert(pandoc.Para(simple.caption))
      simple.caption = {}
      out:insert(pandoc.utils.from_simple_table(simple))
    elseif block.t == "Div" then
      out:insert(source_of(block, folder, root))
    else
      out:insert(block)
    end
  end
  -- Put the anchor of a float in its first paragraph
  local first = out[1]
  out[1] = pandoc.Para({anchor(div.identifier)} .. first.content)
  return out
end

-- Set headings and references
local function heading_of(heading)
  local number = heading.attributes.number
  local text = pandoc.List {anchor(heading.identifier)}
  if number then text:extend {pandoc.Str(number), pandoc.Space()} end
  return pandoc.Header(heading.level + 1, text .. heading.content)
end

local function works_of(div)
  local out = pandoc.List()
  for _, entry in ipairs(div.content) do
    local text = pandoc.utils.blocks_to_inlines(entry.content)
    out:insert(pandoc.Para({anchor(entry.identifier)} .. text))
  end
  return out
end

-- Begin the report
local function code_link(file, target)
  return pandoc.Link(pandoc.Code(file), target or file)
end

local function beginning(meta, home)
  local run = pandoc.utils.stringify(meta.run)
  local command = pandoc.utils.stringify(meta.command)
  return pandoc.List {
    pandoc.Header(1, meta.title), pandoc.Para {pandoc.Emph(run .. ".")},
    pandoc.Para {pandoc.Str "Measured by ", pandoc.Code(command),
      pandoc.Str ", woven by ", pandoc.Code "make reference",
      pandoc.Str ". Each number of the run leads to its line of ",
      code_link "values.json", pandoc.Str ". For paper: ", code_link "summary.pdf",
      pandoc.Str ". The rest of the book: ", code_link("chapters", home),
      pandoc.Str "."}}
end

-- Write the report
local function report(doc)
  local meta = doc.meta
  local folder = pandoc.utils.stringify(meta.results)
  local home = pandoc.utils.stringify(meta.home)
  local root = home:gsub("chapters/$", "")
  doc = doc:walk {Header = heading_of, Div = function(div)
    if div.identifier == "refs" then return works_of(div) end
    return div.classes:includes("float") and float_of(div, folder, root) or nil
  end}
  doc = doc:walk {Para = parts_of, Link = link_of(lines_of(folder .. "/values.json")),
    Image = picture_of, Span = function(span) return span.content end}
  local whole = pandoc.Pandoc(beginning(meta, home) .. doc.blocks)
  local options = pandoc.WriterOptions {wrap_text = "wrap-none"}
  local text = pandoc.write(whole, "gfm", options)
  return pandoc.Pandoc({pandoc.RawBlock("html", text)}, meta)
end

return {{Pandoc = report}}
