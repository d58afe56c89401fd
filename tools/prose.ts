import path from 'node:path';
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

/** What the rule finds in a file, as `file:line: "words": what to write instead`. Of TypeScript the comments and strings. */
export async function findTerms(file: string, text: string): Promise<readonly string[]> {
  const { messages } = await kernel.lintText(path.extname(file) === '.ts' ? proseOf(file, text) : text, {
    ext: '.md',
    plugins: [{ pluginId: 'markdown', plugin: markdown.default }],
    rules: [{ ruleId: 'terms', rule: termRule }],
  });
  return messages.map(({ line, message }) => `${file}:${line}: ${message}`);
}

/** Comments and strings of a TypeScript file as Markdown, each on the line that it has in the file. */
export function proseOf(file: string, source: string): string {
  const { comments, program } = parseSync(file, source);
  const parts = comments.map(({ start, value }) => ({ start, value: value.replaceAll(/^[ \t]*\*+ ?/gm, '') }));
  const addString = (start: number, value: string) => {
    // A string without a blank is an identifier. Its quotation marks make it code.
    if (/\S\s+\S/.test(value)) parts.push({ start, value: value.replaceAll(/'[^']*'|"[^"]*"/g, '``') });
  };
  new Visitor({
    Literal: ({ start, value }) => typeof value === 'string' && addString(start, value),
    TemplateElement: ({ start, value }) => addString(start, value.raw),
  }).visit(program);

  const lines = source.split('\n').map(() => '');
  for (const { start, value } of parts.sort((a, b) => a.start - b.start)) {
    const first = source.slice(0, start).split('\n').length - 1;
    for (const [index, line] of value.split('\n').entries()) lines[first + index] += ` ${line.trim()}`;
  }
  return lines.map((line) => line.trim()).join('\n');
}
