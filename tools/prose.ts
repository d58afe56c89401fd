import { TextlintKernel, type TextlintRuleModule } from '@textlint/kernel';
import markdown from '@textlint/textlint-plugin-markdown';
import { parseSync, Visitor } from 'oxc-parser';
import { terms } from './terms.ts';

const kernel = new TextlintKernel();
const patterns = terms.map(({ not, but }) => ({
  pattern: new RegExp(String.raw`(?<![\w-])(?:${not.replaceAll(' ', String.raw`\s+`)})(?![\w-]|:\w)`, 'gi'),
  but,
}));

/** A rule of textlint: reports the terms in running text. Code, also within a line, is not text: a quotation is code. */
const termRule: TextlintRuleModule = ({ Syntax, RuleError, getSource, locator, report }) => ({
  [Syntax.Str](node) {
    const text = getSource(node);
    for (const { pattern, but } of patterns) {
      for (const { 0: found, index } of text.matchAll(pattern)) {
        const padding = locator.range([index, index + found.length]);
        report(node, new RuleError(`"${found.replaceAll(/\s+/g, ' ')}": ${but}`, { padding }));
      }
    }
  },
});

/** The findings of the rule in a file, as `file:line: "words": what to write instead`. */
export async function findTerms(file: string, text: string): Promise<readonly string[]> {
  const { messages } = await kernel.lintText(proseOf(file, text), {
    ext: '.md',
    plugins: [{ pluginId: 'markdown', plugin: markdown.default }],
    rules: [{ ruleId: 'terms', rule: termRule }],
  });
  return messages.map(({ line, message }) => `${file}:${line}: ${message}`);
}

/** The text of a file as Markdown, on the same lines: Markdown itself, of TypeScript comments and strings, else `#` comments. */
function proseOf(file: string, text: string): string {
  if (file.endsWith('.md')) return text;
  return file.endsWith('.ts') ? proseOfTypeScript(file, text) : text.replaceAll(/^(?:[^#\n]*#+ ?|.*$)/gm, '');
}

function proseOfTypeScript(file: string, source: string): string {
  const { comments, program } = parseSync(file, source);
  const parts = comments.map(({ start, value }) => ({ start, value: value.replaceAll(/^[ \t]*\*+ ?/gm, '') }));
  const addString = (start: number, value: string) => {
    // A string without a blank is an identifier; a quotation within a string is code.
    if (/\S\s+\S/.test(value))
      parts.push({ start, value: value.replaceAll(/(?<!\w)(?:'[^']*'|"[^"]*")(?!\w)/g, '``') });
  };
  new Visitor({
    Literal: ({ start, value }) => typeof value === 'string' && addString(start, value),
    TemplateLiteral: ({ start, quasis }) => addString(start, quasis.map(({ value }) => value.raw).join('x')),
  }).visit(program);

  const lines = source.split('\n').map(() => '');
  for (const { start, value } of parts.sort((a, b) => a.start - b.start)) {
    const first = source.slice(0, start).split('\n').length - 1;
    for (const [index, line] of value.split('\n').entries()) lines[first + index] += ` ${line.trim()}`;
  }
  return lines.map((line) => line.trim()).join('\n');
}
