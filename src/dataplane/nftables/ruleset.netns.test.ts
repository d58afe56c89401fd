import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { startNetLab } from '../../../test/netns/net-lab.ts';
import { decodeListing } from './listing.ts';
import { steeringTable } from './ruleset.ts';

const goldens = globSync(path.join(import.meta.dirname, '__golden__/*.nft'));

test.each(goldens.map((file) => [path.basename(file), file]))(
  'nft accepts %s, lists it without loss, and accepts it again over itself',
  async (_, file) => {
    const text = await readFile(file, 'utf8');
    await using lab = await startNetLab({ nodes: 0 });
    const { balancer } = lab;
    await balancer.exec('nft', '--check', '--file', file);
    await balancer.nft(text);
    await balancer.nft(text);
    const { elements } = decodeListing(
      await balancer.exec('nft', '--json', 'list', 'table', 'inet', 'furiwake'),
      steeringTable,
    );
    expect(elements.size).toBe(text.split('\n').filter((line) => /^\t{3}\S/.test(line)).length);
  },
);

test('there are goldens to check', () => {
  expect(goldens.length).toBeGreaterThan(3);
});
