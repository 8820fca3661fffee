// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the hypervisor tells about itself, in debugfs below mshv/.
 *
 * log: its log. The file's offset is the log's own position, a count of bytes since boot, so a
 * reader keeps its place across reads, gets what was logged since, and goes on with the oldest byte
 * that is left if it was too slow.
 *
 * statistics: a line "name value" for each number: what there is, who owns how many pages, and how
 * much guest memory is mapped in which size. With no VM they are what they were before the first.
 */
#define pr_fmt(fmt) "mshv: " fmt

#include <linux/debugfs.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "mshv_driver.h"

static struct dentry *dir;

/* Text from @position on; at the end of the log @out->bytes is 0. */
static int read_at(u64 position, struct hv_output_read_hypervisor_log *out)
{
	struct hv_input_read_hypervisor_log in = { .position = position };
	u64 status = mshv_hvcall(&(struct mshv_call){
		.control = HVCALL_READ_HYPERVISOR_LOG,
		.in = &in, .in_size = sizeof(in), .out = out, .out_size = sizeof(*out),
	});

	if (hv_result(status) == HV_STATUS_INVALID_HYPERCALL_CODE)
		return -EOPNOTSUPP;
	return mshv_errno(status);
}

static ssize_t log_read(struct file *file, char __user *buf, size_t size, loff_t *pos)
{
	struct hv_output_read_hypervisor_log *out;
	ssize_t ret;

	out = kmalloc(sizeof(*out), GFP_KERNEL);
	if (!out)
		return -ENOMEM;
	ret = read_at(*pos, out);
	if (ret)
		goto free;
	if (WARN_ON_ONCE(out->bytes > sizeof(out->text))) {
		ret = -EIO;
		goto free;
	}
	ret = min_t(size_t, size, out->bytes);
	if (copy_to_user(buf, out->text, ret))
		ret = -EFAULT;
	else
		*pos = out->next_position - out->bytes + ret;
free:
	kfree(out);
	return ret;
}

static const struct file_operations log_fops = {
	.owner = THIS_MODULE,
	.read = log_read,
	.llseek = default_llseek,
};

/* Only one reader has the hypervisor show a page: who ends first would hide it from the other. */
static DEFINE_MUTEX(statistics_lock);

/* Copies counters of the object that @in names, by index. */
static int read_counters(const struct hv_input_stats_page *in, const u16 *indices, u32 count,
			 u64 *values)
{
	const u64 *counters;
	u64 pfn;
	u32 i;
	int ret;

	ret = mshv_hvcall_paid(&(struct mshv_call){
		.control = HVCALL_MAP_STATS_PAGE,
		.in = in, .in_size = sizeof(*in), .out = &pfn, .out_size = sizeof(pfn),
	}, NULL, 1);
	if (ret)
		return ret;
	counters = memremap(PFN_PHYS(pfn), PAGE_SIZE, MEMREMAP_WB);
	for (i = 0; counters && i < count; i++)
		values[i] = READ_ONCE(counters[indices[i]]);
	if (counters)
		memunmap((void *)counters);
	else
		ret = -ENOMEM;
	mshv_hvcall(&(struct mshv_call){
		.control = HVCALL_UNMAP_STATS_PAGE, .in = in, .in_size = sizeof(*in),
	});
	return ret;
}

static int statistics_show(struct seq_file *file, void *unused)
{
	static const u16 machine_indices[] = {
		HV_COUNTER_LOGICAL_PROCESSORS, HV_COUNTER_PARTITIONS, HV_COUNTER_VIRTUAL_PROCESSORS,
	};
	static const u16 root_indices[] = {
		HV_PARTITION_COUNTER_DEPOSITED_PAGES, HV_PARTITION_COUNTER_FREE_PAGES,
	};
	const struct hv_input_stats_page machine = { .type = HV_STATS_OBJECT_HYPERVISOR };
	const struct hv_input_stats_page root = {
		.type = HV_STATS_OBJECT_PARTITION,
		.partition_id = hv_current_partition_id,
	};
	u64 m[ARRAY_SIZE(machine_indices)], r[ARRAY_SIZE(root_indices)];
	long small, large;
	int ret;

	mutex_lock(&statistics_lock);
	ret = read_counters(&machine, machine_indices, ARRAY_SIZE(m), m);
	if (!ret)
		ret = read_counters(&root, root_indices, ARRAY_SIZE(r), r);
	mutex_unlock(&statistics_lock);
	if (ret)
		return ret;
	mshv_count_guest_pages(&small, &large);
	seq_printf(file, "logical_processors %llu\npartitions %llu\nvirtual_processors %llu\n", m[0],
		   m[1], m[2]);
	seq_printf(file, "root_pages %llu\nroot_free_pages %llu\nroot_deposited_pages %ld\n", r[0],
		   r[1], mshv_root_deposited());
	seq_printf(file, "guest_4k_pages %ld\nguest_2m_pages %ld\n", small, large);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(statistics);

/* Without debugfs there are no files, and nothing else is wrong. */
void mshv_debugfs_start(void)
{
	dir = debugfs_create_dir("mshv", NULL);
	debugfs_create_file("log", 0400, dir, NULL, &log_fops);
	debugfs_create_file("statistics", 0400, dir, NULL, &statistics_fops);
}

/* No read is under way afterwards. */
void mshv_debugfs_stop(void)
{
	debugfs_remove(dir);
}
