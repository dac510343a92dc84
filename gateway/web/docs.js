// SPDX-License-Identifier: MIT
// Shows openapi.json and asyncapi.json. Text goes into the page as text, never as markup.
"use strict";

const METHODS = ["get", "post", "put", "delete"];
const BOUNDS = ["minimum", "maximum", "minLength", "maxLength", "x-min-bytes", "x-max-bytes", "minItems", "maxItems", "maxProperties", "pattern"];
let documents;

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

const code = (text) => element("code", {}, String(text));
const section = (id, title, ...children) => element("section", { id }, element("h2", {}, title), ...children);

function table(heads, rows) {
  const line = (kind, cells) => cells.map((cell) => element(kind, {}, cell));
  const body = rows.map(([id, ...cells]) => element("tr", id ? { id } : {}, ...line("td", cells)));
  return element("div", { class: "scroll" }, element("table", {},
    element("thead", {}, element("tr", {}, ...line("th", heads))), element("tbody", {}, ...body)));
}

// What a $ref means; all schemas of both documents have names of their own.
function follow(ref, home) {
  const [file, pointer] = ref.split("#");
  const root = file ? documents.openapi : home;
  return pointer.split("/").slice(1).reduce((at, step) => at[step.replace(/~1/g, "/").replace(/~0/g, "~")], root);
}

const plain = (thing, home) => (thing.$ref ? follow(thing.$ref, home) : thing);

// A schema as a few lines; references stay names, which the list of objects explains.
function shape(schema, indent) {
  const pad = "  ".repeat(indent);
  if (schema.$ref) {
    return schema.$ref.split("/").pop();
  }
  if (schema.const !== undefined) {
    return JSON.stringify(schema.const);
  }
  if (schema.enum) {
    return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  }
  if (schema.anyOf || schema.allOf) {
    return (schema.anyOf || schema.allOf).map((part) => shape(part, indent)).join(schema.anyOf ? " | " : " & ");
  }
  if (schema.properties) {
    const rows = Object.entries(schema.properties).map(([name, part]) => {
      const absent = (schema.required || []).includes(name) ? "" : "?";
      const note = part.description ? `  // ${part.description}` : "";
      return `${pad}  ${name}${absent}: ${shape(part, indent + 1)}${note}`;
    });
    return rows.length > 0 ? `{\n${rows.join("\n")}\n${pad}}` : "{}";
  }
  if (schema.items) {
    return `[${shape(schema.items, indent)}]${bounds(schema)}`;
  }
  if (schema.additionalProperties) {
    return `{ *: ${shape(schema.additionalProperties, indent)} }${bounds(schema)}`;
  }
  return [].concat(schema.type || "anything").join(" | ") + (schema.format ? ` ${schema.format}` : "") + bounds(schema);
}

function bounds(schema) {
  const found = BOUNDS.filter((key) => schema[key] !== undefined).map((key) => `${key.replace("x-", "")} ${schema[key]}`);
  return found.length > 0 ? ` (${found.join(", ")})` : "";
}

function openTo(id, title, about, ...children) {
  return element("details", { id }, element("summary", {}, element("b", {}, title), element("span", {}, about || "")), ...children);
}

function answer(status, response, home) {
  const what = plain(response, home);
  const schema = Object.values(what.content || {})[0]?.schema;
  const codes = schema?.allOf?.[1]?.properties?.code?.enum;
  const heads = Object.entries(what.headers || {}).filter(([, h]) => plain(h, home).required).map(([name]) => name);
  return [null, code(status), what.description, codes ? codes.join(", ") : schema ? element("pre", {}, shape(schema, 0)) : "", heads.join(", ")];
}

function call(path, method, operation, home) {
  const open = operation.security && operation.security.length === 0;
  const parameters = (operation.parameters || []).map((p) => plain(p, home));
  const body = operation.requestBody?.content["application/json"].schema;
  return openTo(operation.operationId, `${method.toUpperCase()} ${path}`, operation.summary,
    element("p", {}, [operation.description, open ? "No token is needed." : ""].filter(Boolean).join(" ")),
    parameters.length > 0 ? element("h4", {}, "Parameters") : null,
    parameters.length > 0 ? table(["name", "in", "value", ""], parameters.map((p) =>
      [null, code(p.name + (p.required ? "" : "?")), p.in, shape(p.schema, 0), p.description || ""])) : null,
    body ? element("h4", {}, "Body") : null,
    body ? element("pre", {}, shape(body, 0)) : null,
    element("h4", {}, "Answers"),
    table(["status", "", "body or codes", "headers"], Object.entries(operation.responses).map(([status, r]) => answer(status, r, home))));
}

function rest(openapi) {
  const parts = openapi.tags.flatMap(({ name }) => [element("h3", {}, name),
    ...Object.entries(openapi.paths).flatMap(([path, item]) => METHODS.filter((m) => item[m]?.tags[0] === name)
      .map((m) => call(path, m, item[m], openapi)))]);
  return section("rest", "REST", element("p", { class: "text" }, openapi.info.description), ...parts);
}

function problems(openapi) {
  const list = Object.entries(openapi.components.schemas.ProblemCode["x-problems"]);
  return section("problems", "Problems", table(["code", "status", "means", "do"],
    list.map(([name, p]) => [name, code(name), p.status, p.meaning, p.client])));
}

function frames(asyncapi) {
  const socket = asyncapi.channels.socket;
  const show = (from) => Object.entries(socket.messages).filter(([, m]) => m["x-from"] === from).map(([name, m]) => {
    const asks = Object.values(asyncapi.operations).find((o) => o.reply && o.messages.some((r) => r.$ref.endsWith(`/${name}`)));
    const replies = asks?.reply.messages.map((r) => r.$ref.split("/").pop()).join(" or ");
    return openTo(`frame-${name}`, name, m.summary, element("pre", {}, shape(m.payload, 0)), replies ? element("p", {}, `Answer: ${replies}`) : null);
  });
  return section("frames", "Frames", element("p", {}, socket.description), element("h3", {}, "From the client"), ...show("client"),
    element("h3", {}, "From the server"), ...show("server"));
}

function topics(asyncapi) {
  const rows = Object.entries(asyncapi.channels).filter(([name]) => name !== "socket").map(([, c]) => {
    const message = follow(Object.values(c.messages)[0].$ref, asyncapi);
    const kept = c.bindings.kafka.topicConfiguration["retention.ms"];
    return [null, code(c.address), c.title, c["x-key"] || "none", kept ? `${kept / 60000} min` : "compacted", code(`${message["x-proto"].file}: ${message.name}`)];
  });
  return section("topics", "Topics", table(["topic", "from → to", "key", "kept", "value"], rows));
}

function objects(openapi, asyncapi) {
  const all = { ...openapi.components.schemas, ...asyncapi.components.schemas };
  return section("objects", "Objects", ...Object.entries(all).map(([name, schema]) =>
    openTo(`object-${name}`, name, schema.description, element("pre", {}, shape(schema, 0)))));
}

async function load() {
  const [openapi, asyncapi] = await Promise.all(["/api/openapi.json", "/api/asyncapi.json"].map(async (path) => {
    const response = await fetch(path);
    if (!response.ok) {
      throw new Error(`${path}: ${response.status}`);
    }
    return response.json();
  }));
  documents = { openapi, asyncapi };
  const codes = Object.entries(asyncapi.channels.socket["x-close-codes"]);
  document.querySelector("main").replaceChildren(rest(openapi), problems(openapi), frames(asyncapi),
    section("close", "Close codes", table(["code", "means", "client"], codes.map(([n, c]) => [`close-${n}`, code(n), c.meaning, c.client]))),
    topics(asyncapi), objects(openapi, asyncapi));
  go();
  addEventListener("hashchange", go);
}

// "/docs#not_found" is the type of a problem; what it names has been made only now.
function go() {
  const target = location.hash ? document.getElementById(location.hash.slice(1)) : null;
  if (target) {
    target.open = true;
    target.scrollIntoView();
  }
}

load().catch((error) => {
  document.getElementById("state").textContent = `The documents cannot be loaded: ${error.message}`;
});
