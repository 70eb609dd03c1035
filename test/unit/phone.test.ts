/** Telephone numbers and local days: the tables of contract 1.1. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLocalDate, localDateAt, nextLocalDate, startOfLocalDate } from '#lib/local-date.ts';
import { comparablePhone, normalizePhone, normalizePhonePrefix } from '#lib/phone.ts';

test('normal form', () => {
  const rows = [
    ['+1 (555) 010-0123', '+15550100123'],
    ['0015550100123', '+15550100123'],
    ['00 1.555.010.0123', '+15550100123'],
    ['138 0013 8000', '13800138000'],
    ['1001', '1001'],
    ['*98#', '*98#'],
    ['10', '10'],
    ['1', null],
    ['00', null],
    ['', null],
    ['+', null],
    ['abc', null],
    ['+1555x', null],
    ['1+555', null],
    ['１３８００１３８０００', null],
    ['555\t0100', null],
    ['sip:1001@192.0.2.1', null],
    ['1'.repeat(32), '1'.repeat(32)],
    ['1'.repeat(33), null],
    [`1${' '.repeat(100)}2`, null],
  ] as const;
  for (const [text, expected] of rows) assert.equal(normalizePhone(text), expected, text);
});

test('form for comparison', () => {
  const rows = [
    ['13800138000', '86', '+8613800138000'],
    ['013800138000', '86', '+8613800138000'],
    ['02155501234', '+86', '+862155501234'],
    ['5550100', '1', '+15550100'],
    ['555010', '1', '555010'],
    ['1001', '86', '1001'],
    ['+15550100123', '86', '+15550100123'],
    ['13800138000', null, '13800138000'],
    ['13800138000', '', '13800138000'],
    ['*21*13800138000#', '86', '*21*13800138000#'],
  ] as const;
  for (const [number, code, expected] of rows) {
    assert.equal(comparablePhone(number, code), expected, `${number} ${code}`);
  }
});

test('prefixes', () => {
  const rows = [
    ['+1', '+1'],
    [' 86138', '+86138'],
    ['0086', '+86'],
    ['1', '1'],
    ['', ''],
    ['ab', null],
    ['%', null],
  ] as const;
  for (const [text, expected] of rows) assert.equal(normalizePhonePrefix(text), expected, text);
});

test('local days begin where the zone says', () => {
  const rows = [
    ['2026-01-01', 'UTC', '2026-01-01T00:00:00.000Z'],
    ['2026-01-01', 'Asia/Shanghai', '2025-12-31T16:00:00.000Z'],
    ['2026-01-01', 'America/New_York', '2026-01-01T05:00:00.000Z'],
    ['2026-07-01', 'America/New_York', '2026-07-01T04:00:00.000Z'],
    // The clocks change on this day, after midnight.
    ['2026-03-29', 'Europe/Berlin', '2026-03-28T23:00:00.000Z'],
    ['2026-03-30', 'Europe/Berlin', '2026-03-29T22:00:00.000Z'],
    ['2026-10-26', 'Europe/Berlin', '2026-10-25T23:00:00.000Z'],
    // Midnight itself is skipped: the day begins at 01:00.
    ['2018-11-04', 'America/Sao_Paulo', '2018-11-04T03:00:00.000Z'],
    ['2026-01-01', 'Pacific/Kiritimati', '2025-12-31T10:00:00.000Z'],
    ['2026-01-01', 'Pacific/Pago_Pago', '2026-01-01T11:00:00.000Z'],
    ['2026-01-01', 'Asia/Kathmandu', '2025-12-31T18:15:00.000Z'],
  ] as const;
  for (const [day, zone, expected] of rows) {
    const startMs = startOfLocalDate(day, zone);
    assert.equal(new Date(startMs).toISOString(), expected, `${day} ${zone}`);
    assert.equal(localDateAt(startMs, zone), day);
    assert.notEqual(localDateAt(startMs - 1000, zone), day);
  }
});

test('days that exist, and the day after', () => {
  const rows = [
    ['2026-02-28', true],
    ['2024-02-29', true],
    ['2026-02-29', false],
    ['2026-13-01', false],
    ['2026-1-1', false],
    ['0000-01-01', false],
    ['9999-01-01', false],
    ['2026-01-01T00:00:00Z', false],
  ] as const;
  for (const [text, expected] of rows) assert.equal(isLocalDate(text), expected, text);
  assert.equal(nextLocalDate('2026-12-31'), '2027-01-01');
  assert.equal(nextLocalDate('2024-02-28'), '2024-02-29');
});
