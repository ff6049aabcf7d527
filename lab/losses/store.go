package losses

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Store keeps reports in a file, in a line of JSON each, so that a measurement can be
// interrupted at any time and gone on with. One process may use it at a time.
type Store struct {
	file    *os.File
	reports []Report
}

// OpenStore opens a file, or makes it, and reads what is in there. A last line that is
// not whole, since whoever wrote it was killed, is cut off.
func OpenStore(path string) (*Store, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	reports, whole, err := readReports(file)
	if err == nil {
		err = file.Truncate(whole)
	}
	if err == nil {
		_, err = file.Seek(whole, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reports in %s: %w", path, err), file.Close())
	}
	return &Store{file: file, reports: reports}, nil
}

// ReadStore reads the reports of a file, which may be in use.
func ReadStore(path string) ([]Report, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	reports, _, err := readReports(file)
	if err != nil {
		return nil, fmt.Errorf("reports in %s: %w", path, err)
	}
	return reports, nil
}

// readReports takes in all whole lines, and gives how long these are.
func readReports(from io.Reader) (reports []Report, whole int64, err error) {
	reader := bufio.NewReader(from)
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return reports, whole, nil
		}
		if err != nil {
			return nil, 0, err
		}
		var r Report
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", len(reports)+1, err)
		}
		reports = append(reports, r)
		whole += int64(len(line))
	}
}

// Add appends a report, without what is told of each single request.
func (s *Store) Add(r Report) error {
	line, err := json.Marshal(r.Brief())
	if err != nil {
		return err
	}
	if _, err := s.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("keep a report: %w", err)
	}
	s.reports = append(s.reports, r.Brief())
	return nil
}

// Reports are all there are, in the order in which they came.
func (s *Store) Reports() []Report { return slices.Clone(s.reports) }

// Missing are those of the cases that there is no report of. Which rate they have makes
// no difference.
func (s *Store) Missing(cases []Case, realNodes bool) []Case {
	return slices.DeleteFunc(slices.Clone(cases), func(c Case) bool {
		return slices.ContainsFunc(s.reports, func(r Report) bool {
			return byCell(r) == cell{c.Strategy.Name, c.Scenario.Name, c.Profile.Name, c.Lateness.Name} &&
				r.Speed == c.Speed && r.Seed == c.Seed && r.RealNodes == realNodes
		})
	})
}

// Close ends it.
func (s *Store) Close() error { return s.file.Close() }
