import { readdir, readFile } from 'node:fs/promises';

/**
 * The licence texts of all packages to which these files belong (`node_modules/zod/index.js`), by name. Throws for a
 * package without one.
 */
export async function licencesOf(files: readonly string[]): Promise<string> {
  const folders = new Set(files.flatMap((file) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? []));
  const texts = await Promise.all([...folders].sort().map(licenceOf));
  return texts.map((text) => `\n${'-'.repeat(80)}\n\n${text}`).join('');
}

async function licenceOf(folder: string): Promise<string> {
  const { name, version } = JSON.parse(await readFile(`${folder}/package.json`, 'utf8')) as Record<string, string>;
  const file = (await readdir(folder)).find((each) => /^(licen[cs]e|copying)/i.test(each));
  if (file === undefined) throw new Error(`${name} has no licence file`);
  return `${name} ${version}\n\n${(await readFile(`${folder}/${file}`, 'utf8')).trim()}\n`;
}
